import json
import math

import pytest

from raykd.store import Folder, StoreError
from raykd.store.errors import DamagedObjectError
from raykd.store.metrics import latest, long_table
from raykd.store.snapshot import (
    collect,
    load_manifest,
    load_part,
    positions,
    publish,
    tail_path,
    tail_position,
)
from raykd.store.trials import Trials


def grow(folder, made, count, reports=1):
    """Publishes snapshots, each with more reports of one trial; returns them and all records."""
    records, snapshots = [made.trial(1)], []
    for number in range(1, count + 1):
        new = [made.report(1, (number - 1) * reports + i + 1, loss=1.0) for i in range(reports)]
        records += new
        trials = Trials(None, "loss", "min")
        trials.apply(records)
        before = snapshots[-1] if snapshots else None
        args = ((1, number), (1, number), trials.table(), long_table(new), before)
        snapshots.append(publish(folder, *args))
    return snapshots, records


def test_is_read_as_it_was_written(root, made):
    folder = Folder(root)
    snapshots, records = grow(folder, made, 3)
    assert positions(folder, pytest.fail) == [(1, 1), (1, 2), (1, 3)]
    again = load_manifest(folder, (1, 3))
    assert again == snapshots[-1]
    assert load_part(folder, again.trials)["epoch"].to_pylist() == [3]
    metrics = latest([load_part(folder, part) for part in again.metrics])
    assert metrics.equals(long_table(records))


def test_parts_stay_few_and_rows_are_rewritten_seldom(tmp_path, made, monkeypatch):
    written = []
    write = Folder.write

    def count(self, path, data, *, if_absent=False):
        if path.endswith("metrics.parquet"):
            written.append(path)
        return write(self, path, data, if_absent=if_absent)

    monkeypatch.setattr(Folder, "write", count)
    snapshots, records = grow(Folder(tmp_path), made, 64)
    assert max(len(snapshot.metrics) for snapshot in snapshots) <= math.log2(64) + 1
    rows = sum(snapshot.metrics[-1].rows for snapshot in snapshots)
    assert rows <= 64 * (math.log2(64) + 1)
    metrics = latest([load_part(Folder(tmp_path), part) for part in snapshots[-1].metrics])
    assert metrics.equals(long_table(records))
    assert len(written) == 64


def test_collect_keeps_this_snapshot_and_the_one_before(tmp_path, made):
    folder = Folder(tmp_path)
    snapshots, _ = grow(folder, made, 4)
    for number in range(1, 7):
        folder.write(tail_path((1, number)), b"")
    told = {(1, number) for number in range(1, 7)}
    folder.write("snapshot/000001-00000002/notes.txt", b"somebody's own")
    collect(folder, snapshots[3], snapshots[2], told, {"0001"})
    assert folder.list("tail") == [tail_path((1, number)) for number in (4, 5, 6)]
    needed = snapshots[3].files() | snapshots[2].files()
    assert {*folder.list("snapshot")} == needed | {"snapshot/000001-00000002/notes.txt"}


def test_collect_never_touches_a_later_term(tmp_path, made):
    folder = Folder(tmp_path)
    snapshots, _ = grow(folder, made, 2)
    folder.write("snapshot/000002-00000003/manifest.json", b"{}")
    folder.write(tail_path((2, 1)), b"")
    collect(folder, snapshots[1], snapshots[0], set(), {"0001"})
    assert folder.exists("snapshot/000002-00000003/manifest.json")
    assert folder.exists(tail_path((2, 1)))


def test_collect_deletes_no_snapshot_that_holds_more(tmp_path, made):
    folder = Folder(tmp_path)
    snapshots, _ = grow(folder, made, 4)
    path = "snapshot/000001-00000001/manifest.json"
    manifest = json.loads(folder.read(path))
    for changed in ({"covered": [1, 9]}, {"trials": {**manifest["trials"], "rows": 9}}):
        folder.write(path, json.dumps(manifest | changed).encode())
        collect(folder, snapshots[3], snapshots[2], set(), {"0001"})
        assert folder.exists(path)
    folder.write(path, json.dumps(manifest).encode())
    collect(folder, snapshots[3], snapshots[2], set(), {"0001"})
    assert not folder.exists(path)


def test_foreign_objects_are_named(tmp_path, made):
    folder = Folder(tmp_path)
    grow(folder, made, 1)
    folder.write("snapshot/copy/trials.parquet", b"")
    folder.write("snapshot/000001-00000002/trials.parquet", b"without a manifest")
    warnings = []
    assert positions(folder, warnings.append) == [(1, 1)]
    assert warnings == [f"{tmp_path}/snapshot/copy/trials.parquet is no object of raykd; skipped"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"layout": 1, "covered": []}', b"null"])
def test_damaged_manifests(tmp_path, data):
    folder = Folder(tmp_path)
    folder.write("snapshot/000001-00000001/manifest.json", data)
    with pytest.raises(DamagedObjectError):
        load_manifest(folder, (1, 1))


def test_a_later_layout_is_refused(tmp_path):
    folder = Folder(tmp_path)
    folder.write("snapshot/000001-00000001/manifest.json", b'{"layout": 3}')
    with pytest.raises(StoreError, match="a later raykd; update this one"):
        load_manifest(folder, (1, 1))


def test_positions_in_the_tail():
    assert tail_position(tail_path((3, 14))) == (3, 14)
    for path in ("tail/x.jsonl", "tail/000001-00000001.json", "tail/000001-00000001", "tail/a/b"):
        assert tail_position(path) is None

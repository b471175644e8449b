"""A store that others can write: names, paths, tables and texts in it are checked when read."""

import hashlib
import json
import warnings
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raykd.report.provenance import origin
from raykd.report.results import Results
from raykd.store import Folder, StoreError, Study, Writer, open_store
from raykd.store.errors import DamagedObjectError
from raykd.store.local import LocalFiles
from raykd.store.records import from_json, pack
from raykd.store.snapshot import load_manifest, positions

PATHS = ("x/../../y", "../y", "/etc/passwd", "..", ".", ".hidden", "a\\b")
LINES = ("a\nb", "\x1b[2J", "", "x" * 999)


def plant(folder, made, at="000001-00000099", **change):
    """Appends a whole trial as a writer would, without the writer's checks."""
    trial, report, end = made.finished(1, 0.5)
    planted = [
        record | {k: v for k, v in change.items() if k in record} for record in (trial, report, end)
    ]
    folder.write(f"tail/{at}.jsonl", pack(planted))


@pytest.fixture
def folder(tmp_path, made):
    folder = Folder(tmp_path / "store").sub("study")
    with Writer(folder, made.spec) as writer:
        writer.append(made.finished(0, 0.4))
        writer.compact()
    return folder


def read(folder):
    study = Study(folder, "study")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = study.trials()["trial"].to_pylist()
    return names, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("field", "name"),
    [
        *(("trial", name) for name in (*PATHS, *LINES)),
        *(("cohort", name) for name in (*PATHS, *LINES) if name),
        *(("checkpoint", name) for name in (*PATHS, *LINES) if name),
        *(("config", name) for name in LINES),
        *(("metrics", name) for name in LINES),
    ],
)
def test_a_record_with_a_name_that_leads_elsewhere_is_skipped(folder, made, field, name):
    values = {"config": {name: 1}, "metrics": {name: 1.0}}
    plant(folder, made, **{field: values.get(field, name)})
    names, said = read(folder)
    assert names == ["0000"]
    assert any("000001-00000099.jsonl is damaged" in text for text in said)
    assert not any("\x1b" in text for text in said)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "end", "trial": "0000", "state": "COMPLETE", "apply": 1},
        {"kind": "end", "trial": "0000", "state": "DONE"},
        {"kind": ["end"], "trial": "0000"},
        {"kind": "report", "trial": "0000", "epoch": "1", "metrics": {}},
        {"kind": "report", "trial": "0000", "epoch": 1, "metrics": {"val_top1": 10**400}},
        ["not", "a", "record"],
        None,
    ],
)
def test_what_is_no_record_is_skipped(folder, record):
    body = f"{json.dumps(record)}\n".encode()
    head = json.dumps({"sha256": hashlib.sha256(body).hexdigest()})
    folder.write("tail/000001-00000099.jsonl", f"{head}\n".encode() + body)
    names, said = read(folder)
    assert names == ["0000"]
    assert any("none of raykd's" in text for text in said)


def distribution(kind, **attributes):
    return json.dumps({"name": f"{kind}Distribution", "attributes": attributes})


def replant(folder, change):
    """Rewrites the newest snapshot: `change` takes its table of trials and its manifest."""
    at = positions(folder, print)[-1]
    manifest = f"snapshot/{at[0]:06d}-{at[1]:08d}/manifest.json"
    item = from_json(folder.read(manifest))
    table = change(pq.read_table(pa.BufferReader(folder.read(item["trials"]["path"]))), item)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    folder.write(f"snapshot/{at[0]:06d}-{at[1]:08d}/trials.parquet", data)
    item["trials"]["sha256"] = hashlib.sha256(data).hexdigest()
    folder.write(manifest, json.dumps(item).encode())
    return at


def column(name, value):
    def change(table, item):
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([value], table.schema.field(name).type))

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trial", "x/../../y"),
        ("trial", None),
        ("cohort", "../.."),
        ("method", "a\x1b[2Jb"),
        ("checkpoint", "../../secret"),
        ("checkpoint", "/etc/passwd"),
        ("role", "admin"),
        ("state", "DONE"),
        ("seed", None),
        ("method", None),
        ("time", None),
    ],
)
def test_a_table_with_such_names_is_skipped(folder, name, value):
    replant(folder, column(name, value))
    names, said = read(folder)
    assert value not in names
    assert any("none of raykd's" in text or "has no" in text for text in said)


def test_tables_of_other_columns_and_numbers_of_rows_are_skipped(folder):
    replant(folder, lambda table, _: table.append_column("last_loss", pa.array([[1.0]])))
    assert any("no table of trials" in text for text in read(folder)[1])
    replant(folder, lambda table, _: table.select(["trial", "number"]))
    assert any("it lacks" in text or "no table" in text for text in read(folder)[1])
    replant(folder, lambda table, _: pa.concat_tables([table] * 100))
    assert any("rows and not 1" in text for text in read(folder)[1])


NO_UTF8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.append_column("last_loss", pa.array(["0.4"])), "'last_loss' is string"),
        (lambda t: t.append_column("trial", t["trial"]), "the same name"),
        (lambda t: t.set_column(0, "trial", NO_UTF8), "no Parquet"),
    ],
)
def test_a_table_that_queries_would_fail_on_is_skipped(folder, change, why):
    replant(folder, lambda table, _: change(table))
    assert any(why in text for text in read(folder)[1])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("path", "../other/snapshot/000001-00000001/trials.parquet"),
        ("path", "snapshot/../../../etc/passwd"),
        ("path", "/etc/passwd"),
        ("path", "study.json"),
        ("path", "snapshot/000001-00000001/metrics.parquet"),
        ("path", 7),
        ("rows", "many"),
        ("sha256", "../x"),
        ("first", 7),
    ],
)
def test_a_manifest_names_its_own_parts_alone(folder, part, value):
    at = positions(folder, print)[-1]
    path = f"snapshot/{at[0]:06d}-{at[1]:08d}/manifest.json"
    item = from_json(folder.read(path))
    item["trials"][part] = value
    folder.write(path, json.dumps(item).encode())
    with pytest.raises(DamagedObjectError, match="no manifest of raykd"):
        load_manifest(folder, at)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metric", "val_top1"),
        ("metric", ["a\nb"]),
        ("metric", [["val_top1"]]),
        ("mode", ["up"]),
        ("space", {"alpha": {"low": 1}}),
        ("space", {"alpha": '{"name": "os.system", "attributes": {"choices": [1]}}'}),
        (
            "space",
            {"alpha": '{"name": "FloatDistribution", "attributes": {"low": "1", "high": 2}}'},
        ),
        ("space", {"a\x1bb": '{"name": "FloatDistribution", "attributes": {"low": 1, "high": 2}}'}),
        ("teacher", {"model": "resnet"}),
        ("references", ["KD"]),
        ("data", []),
        ("seeds", "3"),
        ("made_by", "os:system"),
        ("hardware", {"gpus": 7}),
        ("student", "A" * 100_000),
        ("space", {"alpha": distribution("Float", low=0, high=10**400)}),
        ("space", {"alpha": distribution("Float", low=2, high=1)}),
        ("space", {"alpha": distribution("Float", low=0, high=1, log=True)}),
        ("space", {"alpha": distribution("Float", low=0, high=1, step="x")}),
        ("space", {"alpha": distribution("Int", low=0.5, high=1)}),
        ("space", {"alpha": distribution("Categorical", choices=[{"a": 1}])}),
        ("layout", "2"),
    ],
)
def test_a_wrong_study_json_is_one_sentence(folder, field, value):
    item = json.loads(folder.read("study.json"))
    folder.write("study.json", json.dumps(item | {field: value}).encode())
    with pytest.raises(StoreError, match="is no study of raykd") as caught:
        Study(folder, "study")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 60 + "]" * 60,
        '{"a":' * 60 + "1" + "}" * 60,
        '{"$float": []}',
        '{"$float": "x"}',
        "9" * 5000,
        b"\xff\xfe",
        "",
    ],
    ids=range(8),
)
def test_json_that_is_too_deep_or_wrong_is_one_sentence(text):
    with pytest.raises(DamagedObjectError) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("change", [{"pid": "1/../.."}, {"started": 1e300}, {"host": 7}, {"x": 1}])
def test_a_lease_of_nonsense_is_none(folder, made, change):
    folder.write(
        "writer/000002.json",
        json.dumps(
            {
                "host": "h",
                "machine": "m",
                "pid": 1,
                "born": "1",
                "started": 1.0,
                "nonce": "n",
                **change,
            }
        ).encode(),
    )
    with Writer(folder, made.spec) as writer:
        assert writer.spec["metric"] == ["val_top1"]


@pytest.mark.parametrize("beat", ['{"objects": {"$float": "inf"}}', "[]", '{"objects": 1000000}'])
def test_a_term_that_nobody_has_come_to_costs_a_few_requests(folder, made, beat, monkeypatch):
    asked = []
    monkeypatch.setattr(LocalFiles, "read", counted(LocalFiles.read, asked))
    folder.write("writer/900000.json", b"{}")
    folder.write("writer/000001.beat", beat.encode())
    with warnings.catch_warnings(), suppress(StoreError):
        warnings.simplefilter("ignore")
        read(folder)
    assert len(asked) < 1500
    folder.write("writer/999999.json", b"{}")
    with pytest.raises(StoreError, match=r"writer/999999\.json is of the last writer.*delete it"):
        Writer(folder, made.spec)


def counted(function, calls):
    def count(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return count


def test_a_snapshot_with_the_last_number_is_said_before_anything_is_written(folder, made):
    folder.write("snapshot/000001-99999999/manifest.json", b"{}")
    with pytest.raises(StoreError, match="never counted so far; delete it"):
        Writer(folder, made.spec)
    assert read(folder)[0] == ["0000"]


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"cost": {"seconds": float("inf")}},
        {"cost": {"seconds": 1e300}},
        {"config": {"alpha": 10**400}},
        {"config": {"alpha": {"a": [1]}}},
    ],
    ids=range(5),
)
def test_what_makes_no_sense_of_a_trial_is_left_out_for_optuna(folder, made, change):
    item = json.loads(folder.read("study.json"))
    space = {"alpha": distribution("Float", low=1, high=2)}
    folder.write("study.json", json.dumps(item | {"space": space}).encode())
    plant(folder, made, at="000001-00000002", **change)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = Study(folder, "study")
        assert len(stored.to_optuna().trials) == 2
        assert Results(stored).ranked()[0].name == "0001"
        assert "How this was made" in origin(Results(stored))


def test_folders_with_other_names_are_no_studies(folder, tmp_path):
    for name in ("-rf", "a b", "a\x1b[2J", ".hidden"):
        Folder(tmp_path / "store").sub(name).write("study.json", folder.read("study.json"))
    assert open_store(tmp_path / "store").studies() == ["study"]

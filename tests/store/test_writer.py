import subprocess
import sys

import pytest

from raykd.store import Folder, StoreError, StoreWarning, Study, Writer, WriterReplacedError
from raykd.store.errors import DamagedObjectError


def test_what_is_appended_is_read(root, made):
    folder, records = Folder(root), []
    with Writer(folder, made.spec, every=3) as writer:
        for number in range(8):
            new = made.finished(number, 0.1 * number, 0.2 * number)
            writer.append(new)
            records += new
            made.assert_holds(folder, records)
    made.assert_holds(folder, records)


def test_a_study_goes_on(root, made):
    folder, records = Folder(root), []
    for number in range(4):
        with Writer(folder, made.spec, every=2) as writer:
            for i in range(3):
                new = made.finished(3 * number + i, 0.5)
                writer.append(new)
                records += new
        made.assert_holds(folder, records)


def test_appending_again_changes_nothing(tmp_path, made):
    records = made.finished(1, 0.5, 0.7, 0.6)
    with Writer(Folder(tmp_path), made.spec, every=2) as writer:
        for _ in range(5):
            writer.append(records)
            writer.append(records[1:3])
    made.assert_holds(Folder(tmp_path), records)


def test_hyperparameters_keep_their_types(tmp_path, made):
    configs = [{"a": value, "b": [1, 2.0]} for value in (None, True, 1, 0.5, "1", 2**70)]
    with Writer(Folder(tmp_path), made.spec) as writer:
        writer.append([made.trial(i, config=config) for i, config in enumerate(configs)])
        assert repr([*writer.configs().values()]) == repr(configs)
    with Writer(Folder(tmp_path), made.spec) as writer:
        assert repr([*writer.configs().values()]) == repr(configs)
        assert list(writer.configs()) == [f"{i:04d}" for i in range(6)]


def test_one_object_an_append_and_few_remain(tmp_path, made):
    folder = Folder(tmp_path)
    with Writer(folder, made.spec, every=100) as writer:
        writer.append([made.trial(1), made.report(1, 1, val_top1=0.5)])
        assert folder.list("tail") == ["tail/000001-00000001.jsonl"]
        writer.append([])
        assert len(folder.list("tail")) == 1
    with Writer(folder, made.spec, every=4) as writer:
        for epoch in range(2, 100):
            writer.append([made.report(1, epoch, val_top1=0.5)])
            assert len(folder.list("tail")) <= 2 * 4
            assert len(folder.list("snapshot")) <= 20


def test_bad_records_leave_nothing(tmp_path, made):
    folder = Folder(tmp_path)
    with Writer(folder, made.spec) as writer:
        with pytest.raises(StoreError, match="trial 0001 has not begun"):
            writer.append([made.report(1, 1, val_top1=0.5)])
        with pytest.raises(StoreError, match="unknown kind"):
            writer.append([made.trial(1), {"kind": "note", "trial": "0001"}])
        assert folder.list("tail") == []
        writer.append(made.finished(1, 0.5))
        writer.append([made.report(1, 2, val_top1=0.6)])
    with pytest.raises(StoreError, match="is closed"):
        writer.append([made.trial(2)])
    with Writer(folder, made.spec) as writer:
        writer.append([made.report(1, 3, val_top1=0.6)])


def test_a_second_writer_is_refused_and_the_first_goes_on(root, made):
    folder = Folder(root)
    with Writer(folder, made.spec) as writer:
        with pytest.raises(StoreError, match="is being written by process"):
            Writer(Folder(root), made.spec)
        writer.append(made.finished(1, 0.5))
    made.assert_holds(folder, made.finished(1, 0.5))


def test_a_replaced_writer_notices_and_what_it_adds_is_void(root, made):
    folder = Folder(root)
    first = Writer(folder, made.spec)
    first.append(made.finished(1, 0.5))
    made.bury(folder, 1)
    with Writer(Folder(root), made.spec) as second:
        with pytest.raises(WriterReplacedError, match="has taken over"):
            first.append(made.finished(2, 0.9))
        with pytest.raises(WriterReplacedError):
            first.compact()
        second.append(made.finished(3, 0.7))
        made.assert_holds(folder, [*made.finished(1, 0.5), *made.finished(3, 0.7)])
    with pytest.warns(StoreWarning, match="closed without compaction"):
        first.close()
    made.assert_holds(folder, [*made.finished(1, 0.5), *made.finished(3, 0.7)])


def test_two_writers_that_start_at_once(conditional_root, made):
    program = (
        "import sys; from raykd.store import Folder, StoreError, Writer\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    Writer(Folder(sys.argv[1]), {'metric': ['a'], 'mode': ['max']})\n"
        "    print('won', flush=True); sys.stdin.read()\n"
        "except StoreError as error:\n"
        "    print(error, flush=True)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", program, conditional_root]
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.stdout.readline() for process in both)
    for process in both:
        process.communicate()
    assert "is being written by process" in said[0]
    assert said[1] == "won\n"


def test_compaction_that_fails_is_tried_again(tmp_path, made):
    folder = made.DyingFolder(tmp_path)
    with Writer(folder, made.spec, every=2) as writer:
        writer.append(made.finished(1, 0.5))
        write = folder.write

        def refuse(path, data, *, if_absent=False):
            if path.startswith("snapshot"):
                raise StoreError("no room")
            return write(path, data, if_absent=if_absent)

        folder.write = refuse
        with pytest.warns(StoreWarning, match="compaction is put off: no room"):
            writer.append(made.finished(2, 0.5))
        assert Study(folder, "study").trials().num_rows == 2
        del folder.write
        writer.append(made.finished(3, 0.5))
        assert Folder(tmp_path).list("snapshot") != []
    made.assert_holds(folder, [r for number in (1, 2, 3) for r in made.finished(number, 0.5)])


def test_snapshots_damaged_beyond_repair_are_not_written_over(tmp_path, made):
    folder = Folder(tmp_path)
    with Writer(folder, made.spec, every=1) as writer:
        for number in range(5):
            writer.append(made.finished(number, 0.5))
    for path in folder.list("snapshot"):
        if path.endswith("trials.parquet"):
            folder.write(path, b"PAR1")
    before = folder.list("snapshot")
    with (
        pytest.warns(StoreWarning, match=r"is damaged .*SHA-256 differs.; skipped"),
        pytest.raises(StoreError, match=r"no snapshot of .* is valid, so trials would be lost"),
    ):
        Writer(folder, made.spec)
    assert folder.list("snapshot") == before


def test_a_damaged_part_of_the_metrics_stays_as_it_is(tmp_path, made):
    folder = Folder(tmp_path)
    with Writer(folder, made.spec) as writer:
        writer.append([made.trial(1), made.report(1, 1, val_top1=0.5)])
    (part,) = [path for path in folder.list("snapshot") if path.endswith("metrics.parquet")]
    folder.write(part, b"PAR1")
    with Writer(folder, made.spec) as writer:
        writer.append([made.report(1, 2, val_top1=0.6)])
    study = Study(folder, "study")
    with pytest.warns(StoreWarning, match="metrics.parquet is damaged"):
        assert study.curve("0001")["epoch"].to_pylist() == [2]
    assert study.trials()["epoch"].to_pylist() == [2]
    assert issubclass(DamagedObjectError, StoreError)

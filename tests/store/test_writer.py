import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.store import Folder, StoreError, StoreWarning, Study, Writer, WriterReplacedError
from raykd.store.errors import DamagedObjectError
from raykd.store.metrics import long_table
from raykd.store.records import checked
from raykd.store.trials import Trials


def assert_holds(folder, records):
    """The study says exactly what a replay of all records says."""
    records = [checked(record) for record in records]
    trials = Trials(None, "val_top1", "max")
    trials.apply(records)
    study = Study(folder, "study")
    expected = trials.table().drop_columns(["config"])
    assert repr(study.trials().to_pydict()) == repr(expected.to_pydict())
    assert study.trials().schema == expected.schema
    assert repr(study.metrics().to_pydict()) == repr(long_table(records).to_pydict())
    assert study.warnings == []


def test_what_is_appended_is_read(root, made):
    folder, records = Folder(root), []
    with Writer(folder, made.spec, every=3) as writer:
        for number in range(8):
            new = made.finished(number, 0.1 * number, 0.2 * number)
            writer.append(new)
            records += new
            assert_holds(folder, records)
    assert_holds(folder, records)


def test_a_study_goes_on(root, made):
    folder, records = Folder(root), []
    for number in range(4):
        with Writer(folder, made.spec, every=2) as writer:
            for i in range(3):
                new = made.finished(3 * number + i, 0.5)
                writer.append(new)
                records += new
        assert_holds(folder, records)


def test_appending_again_changes_nothing(tmp_path, made):
    records = made.finished(1, 0.5, 0.7, 0.6)
    with Writer(Folder(tmp_path), made.spec, every=2) as writer:
        for _ in range(5):
            writer.append(records)
            writer.append(records[1:3])
    assert_holds(Folder(tmp_path), records)


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
    assert_holds(folder, made.finished(1, 0.5))


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
        assert_holds(folder, [*made.finished(1, 0.5), *made.finished(3, 0.7)])
    with pytest.warns(StoreWarning, match="closed without compaction"):
        first.close()
    assert_holds(folder, [*made.finished(1, 0.5), *made.finished(3, 0.7)])


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
    assert_holds(folder, [r for number in (1, 2, 3) for r in made.finished(number, 0.5)])


def test_killed_at_any_request(root, made):
    """A study of some appends and compactions, killed before its n-th change, for every n."""
    folder, records, lives = Folder(root).sub("whole"), [], 0
    for number in range(6):
        records += made.finished(number, 0.1, 0.2 + number / 10)
    while True:
        folder = made.DyingFolder(f"{root}/{lives}")
        if study_survives(folder, made, lives):
            break
        assert_holds(folder, records)
        lives += 1 if root.startswith("/") else 9
    assert lives > 25


def study_survives(folder, made, lives):
    """Runs the study and kills it once; says whether it ended before that."""
    folder.lives, killed, term, number = lives, False, 0, 0
    while number < 6:
        writer = None
        try:
            term += 1
            writer = Writer(folder, made.spec, every=2)
            while number < 6:
                writer.append(made.finished(number, 0.1, 0.2 + number / 10))
                number += 1
            writer.close()
        except made.KilledError:
            killed, folder.lives = True, 10**9
            if writer:
                writer._lease._stop.set()
            terms = [path for path in folder.list("writer") if path.endswith(".json")]
            if terms:
                made.bury(folder, len(terms))
    return not killed


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("kill"), st.integers(0, 12)),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps, every=st.integers(1, 5))
def test_snapshot_and_tail_are_a_replay(tmp_path_factory, made, steps, every):
    """Whatever is appended, compacted, killed and repeated: the study is its records' replay."""
    folder = made.DyingFolder(tmp_path_factory.mktemp("study"))
    written, epochs, writer = [], {}, None
    for step, value in [*steps, ("append", [0])]:
        if step == "kill":
            folder.lives = value
            continue
        records = []
        for number in value or []:
            epochs[number] = epochs.get(number, 0) + 1
            records += story(made, number, epochs[number])
        while True:
            try:
                if writer is None or step == "reopen":
                    writer = reopened(folder, made, writer, every)
                writer.append(records)
                written += records
                if step == "compact":
                    writer.compact()
                break
            except made.KilledError:
                folder.lives = 10**9
                writer = reopened(folder, made, writer, every)
    folder.lives = 10**9
    writer.close()
    assert_holds(folder, written)


def reopened(folder, made, writer, every):
    if writer is not None:
        writer._lease._stop.set()
    while True:
        terms = [path for path in folder.list("writer") if path.endswith(".json")]
        if terms:
            lives, folder.lives = folder.lives, 10**9
            made.bury(folder, len(terms))
            folder.lives = lives
        try:
            return Writer(folder, made.spec, every=every)
        except made.KilledError:
            folder.lives = 10**9


def story(made, number, epoch):
    """What a trial appends at its n-th turn: it begins, reports, ends, begins again."""
    kinds = [0.5, 1, 2.5, True, "auto", None, [1], 3, float("inf"), "x"]
    value = [0.3, float("nan"), 0.9, float("inf"), -0.5][(number + epoch) % 5]
    records = [made.trial(number, config={"x": kinds[number], f"only_{number}": epoch > 0})]
    records.append(made.report(number, epoch % 4 + 1, val_top1=value, **{f"loss_{number}": 1.0}))
    if epoch % 3 == 0:
        records.append(made.end(number, ["COMPLETE", "FAIL", "PRUNED"][number % 3]))
    return records


def test_sigkill_loses_nothing_that_append_returned_from(tmp_path, made):
    program = (
        "import sys\n"
        "from raykd.store import Folder, Writer\n"
        "writer = Writer(Folder(sys.argv[1]), {'metric': ['a'], 'mode': ['max']}, every=3)\n"
        "for i in range(int(sys.argv[2]), 10**6):\n"
        "    name = f'{i:06d}'\n"
        "    writer.append([{'kind': 'trial', 'trial': name, 'number': i, 'cohort': '',\n"
        "                    'seed': 0, 'role': 'search', 'method': 'kd', 'config': {}},\n"
        "                   {'kind': 'report', 'trial': name, 'epoch': 1, 'metrics': {'a': i}}])\n"
        "    print(i, flush=True)\n"
    )
    begin = 0
    for enough in (7, 13):
        command = [sys.executable, "-c", program, str(tmp_path), str(begin)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                if int(line) >= begin + enough:
                    process.kill()
                    break
            last = max([int(line), *(int(more) for more in process.stdout if more.strip())])
        study = Study(Folder(tmp_path), "study")
        assert study.trials()["number"].to_pylist()[: last + 1] == list(range(last + 1))
        assert study.trials().num_rows <= last + 2
        assert study.metrics()["value"].to_pylist()[: last + 1] == list(range(last + 1))
        begin = last + 1


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

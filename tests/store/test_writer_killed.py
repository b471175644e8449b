"""The writer, killed wherever it can be."""

import subprocess
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.store import Folder, Study, Writer


def test_killed_at_any_request(root, made):
    """A study of some appends and compactions, killed before its n-th change, for every n."""
    records, lives = [], 0
    for number in range(6):
        records += made.finished(number, 0.1, 0.2 + number / 10)
    while True:
        folder = made.DyingFolder(f"{root}/{lives}")
        if study_survives(folder, made, lives):
            break
        made.assert_holds(folder, records)
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


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    made.assert_holds(folder, written)


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

import threading

from raykd.store import Folder, Writer
from raykd.store.log import read_log
from raykd.store.snapshot import tail_path


def filled(uri, made, count=3, every=100):
    folder = Folder(uri)
    writer = Writer(folder, made.spec, every=every)
    for number in range(count):
        writer.append([made.trial(number), made.report(number, 1, val_top1=0.5)])
    return writer


def trials_in(log):
    base = [] if log.base is None else log.base["trial"].to_pylist()
    return sorted({*base, *(record["trial"] for record in log.records())})


def test_what_does_not_belong_is_named_and_skipped(root, made):
    writer = filled(root, made)
    folder = Folder(root)
    folder.write("tail/notes.txt", b"hello")
    folder.write(tail_path((1, 9)), b"{}")
    folder.write(tail_path((1, 2)), folder.read(tail_path((1, 2)))[:-5])
    folder.write("snapshot/old/x", b"")
    log = read_log(folder)
    assert trials_in(log) == ["0000", "0002"]
    assert len(log.warnings) == 4
    for name in ("tail/notes.txt", tail_path((1, 9)), tail_path((1, 2)), "snapshot/old/x"):
        assert sum(f"{folder.uri}/{name} is" in warning for warning in log.warnings) == 1
    writer.close()


def test_a_damaged_snapshot_is_mended_by_the_one_before(root, made):
    filled(root, made, count=7, every=2).close()
    folder = Folder(root)
    newest = sorted(path for path in folder.list("snapshot") if path.endswith("manifest.json"))[-1]
    for name in ("manifest.json", "trials.parquet"):
        path = newest.replace("manifest.json", name)
        good = folder.read(path)
        folder.write(path, good[: len(good) // 2])
        log = read_log(folder)
        assert trials_in(log) == [f"{number:04d}" for number in range(7)]
        assert len(log.warnings) == 1
        assert f"{newest.removesuffix('/manifest.json')} is damaged" in log.warnings[0]
        assert log.whole
        folder.delete(path)
        assert trials_in(read_log(folder)) == [f"{number:04d}" for number in range(7)]
        folder.write(path, good)
    assert read_log(folder).warnings == []


def test_the_first_snapshot_may_be_damaged_too(tmp_path, made):
    filled(tmp_path, made, count=3).close()
    folder = Folder(tmp_path)
    (manifest,) = [path for path in folder.list("snapshot") if path.endswith("manifest.json")]
    folder.write(manifest, b"")
    log = read_log(folder)
    assert log.whole
    assert trials_in(log) == ["0000", "0001", "0002"]


def test_a_later_reading_reads_only_what_is_new(tmp_path, made, monkeypatch):
    writer = filled(tmp_path, made, count=5, every=4)
    folder, seen = Folder(tmp_path), []
    log = read_log(folder)
    writer.append([made.trial(9)])
    read = Folder.read

    def watched(self, path):
        seen.append(path)
        return read(self, path)

    monkeypatch.setattr(Folder, "read", watched)
    again = read_log(folder, log)
    assert [path for path in seen if path.startswith("tail/")] == [tail_path((1, 6))]
    assert [path for path in seen if path.endswith(".parquet")] == []
    assert trials_in(again) == [*trials_in(log), "0009"]
    writer.close()


def test_a_reader_that_is_overtaken_by_compactions_begins_again(tmp_path, made):
    writer = filled(tmp_path, made, count=4)
    number = [4]

    class Slow(Folder):
        def list(self, prefix=""):
            paths = super().list(prefix)
            if number[0] < 6:  # between the listing and the reading, two compactions
                for _ in range(2):
                    writer.append([made.trial(number[0])])
                    writer.compact()
                    number[0] += 1
            return paths

    log = read_log(Slow(tmp_path))
    assert trials_in(log) == [f"{number:04d}" for number in range(6)]
    assert log.warnings == []
    writer.close()


def test_readers_beside_a_writer_never_lose_sight_of_a_trial(tmp_path, made):
    writer, done, problems = filled(tmp_path, made, count=1, every=2), threading.Event(), []

    def look():
        seen = 0
        while not done.is_set():
            log = read_log(Folder(tmp_path))
            if len(trials_in(log)) < seen or log.warnings:
                problems.append((seen, trials_in(log), log.warnings))
            seen = len(trials_in(log))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 40):
        writer.append([made.trial(number), made.report(number, 1, val_top1=0.5)])
    done.set()
    for thread in threads:
        thread.join()
    writer.close()
    assert problems == []


def test_an_empty_study(root):
    log = read_log(Folder(root))
    assert (log.snapshot, log.base, log.tail, log.warnings, log.whole) == (None, None, {}, [], True)

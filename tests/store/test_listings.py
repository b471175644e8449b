"""Listings that fail or show too little: whoever writes waits, and deletes nothing unread."""

import errno
import itertools
import math
import os
import shutil

import pytest

from raykd.store import Folder, StoreWarning, Study, UnavailableError, Writer
from raykd.store.retry import retry_until_available
from raykd.store.snapshot import tail_path

TRIALS, EVERY = 50, 3


class FaultyFolder(Folder):
    """One listing, the n-th, goes wrong."""

    def __init__(self, uri, fault="", at=-1):
        super().__init__(uri)
        self.fault, self.at, self.listings = fault, at, 0

    def sub(self, path):
        raise NotImplementedError

    def sizes(self, prefix=""):
        found = super().sizes(prefix)
        self.listings += 1
        if self.listings - 1 != self.at:
            return found
        names, half = sorted(found), len(found) // 2
        shown = {"first half": names[:half], "second half": names[half:], "nothing": []}
        if self.fault not in shown:
            raise UnavailableError("cannot list")
        return {name: found[name] for name in shown[self.fault]}


@pytest.fixture
def at_once(monkeypatch):
    """Nobody sleeps while waiting."""
    monkeypatch.setattr("raykd.store.retry.time.sleep", lambda seconds: None)


def go_on(folder, made, first, last):
    """A writer's process: it goes on with the study and stores these trials."""
    writer = Writer(folder, made.spec, every=EVERY, wait=math.inf)
    for number in range(first, last):
        records = made.finished(number, 0.1, 0.2)
        retry_until_available(lambda records=records: writer.append(records), seconds=30.0)
    writer.close()


def every_trial(made, count):
    return list(itertools.chain(*(made.finished(number, 0.1, 0.2) for number in range(count))))


@pytest.mark.filterwarnings("ignore:compaction is put off", "ignore:closed without compaction")
@pytest.mark.parametrize("fault", ["error", "first half", "second half", "nothing"])
def test_no_trial_is_lost_whichever_listing_goes_wrong(tmp_path, made, at_once, fault):
    begun, at = tmp_path / "begun", 0
    go_on(Folder(begun), made, 0, 25)
    go_on(Folder(begun), made, 25, 41)
    while True:
        shutil.copytree(begun, tmp_path / str(at))
        folder = FaultyFolder(tmp_path / str(at), fault, at)
        go_on(folder, made, 41, TRIALS)
        go_on(Folder(folder.uri), made, TRIALS, TRIALS)
        made.assert_holds(Folder(folder.uri), every_trial(made, TRIALS))
        if folder.listings <= at:
            break
        at += 1
    assert at > 8


@pytest.mark.filterwarnings("ignore:compaction is put off", "ignore:closed without compaction")
@pytest.mark.parametrize("fault", ["error", "nothing"])
def test_no_trial_is_lost_on_a_server(root, made, at_once, fault):
    if "://" not in root:
        pytest.skip("the test above tries every listing of a local folder")
    go_on(Folder(root), made, 0, 7)
    for at, last in zip(range(5), range(9, 19, 2), strict=True):
        go_on(FaultyFolder(root, fault, at), made, last - 2, last)
    made.assert_holds(Folder(root), every_trial(made, 17))


def test_a_reader_says_that_a_listing_shows_too_little(tmp_path, made):
    go_on(Folder(tmp_path), made, 0, 10)
    shutil.move(tmp_path / "snapshot", tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match=r"lacks tail/.*: either a listing was not whole"):
        Study(Folder(tmp_path), "study").trials()


def test_an_object_that_is_gone_from_the_middle_stops_the_next_writer(tmp_path, made):
    folder = Folder(tmp_path)
    writer = Writer(folder, made.spec, every=100)
    for number in range(4):
        writer.append(made.finished(number, 0.5))
    writer._lease.release()
    folder.delete(tail_path((1, 2)))
    stored = folder.list()
    with pytest.raises(UnavailableError, match=rf"lacks {tail_path((1, 2))}"):
        Writer(folder, made.spec)
    assert {*stored} <= {*folder.list()}


def test_a_writer_whose_lease_is_gone_waits(tmp_path, made):
    """As when a disk was unmounted: what is written then lies somewhere else."""
    folder = Folder(tmp_path / "disk")
    writer = Writer(folder, made.spec)
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(UnavailableError, match=r"000001\.json is gone"):
        writer.append(made.finished(0, 0.5))
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "away").rename(tmp_path / "disk")
    writer.append(made.finished(0, 0.5))
    writer.close()
    made.assert_holds(folder, made.finished(0, 0.5))


def test_numbers_have_no_gap_after_a_failure(tmp_path, made):
    folder = Folder(tmp_path)
    write = folder.write

    def refuse(path, data, *, if_absent=False):
        raise UnavailableError("no room")

    with Writer(folder, made.spec, every=100) as writer:
        writer.append(made.finished(0, 0.5))
        folder.write = refuse
        for number in (1, 1, 2):
            with pytest.raises(UnavailableError):
                writer.append(made.finished(number, 0.5))
        folder.write = write
        writer.append(made.finished(2, 0.5))
        assert folder.list("tail") == [tail_path((1, number)) for number in (1, 2, 3)]
    made.assert_holds(folder, [*itertools.chain(*(made.finished(n, 0.5) for n in range(3)))])


def test_what_the_writer_could_not_read_stays(tmp_path, made):
    folder = Folder(tmp_path)
    writer = Writer(folder, made.spec, every=100)
    for number in range(4):
        writer.append(made.finished(number, 0.5))
    writer._lease.release()
    cut = folder.read(tail_path((1, 4)))[:-9]
    folder.write(tail_path((1, 4)), cut)
    late = folder.read(tail_path((1, 1))).replace(b"0000", b"0099")
    with pytest.warns(StoreWarning, match="is damaged"):
        writer = Writer(folder, made.spec, every=1)
    folder.write(tail_path((1, 5)), late)
    for number in range(5, 12):
        writer.append(made.finished(number, 0.5))
    writer.close()
    left = [path for path in folder.list("tail") if path.startswith("tail/000001")]
    assert left == [tail_path((1, 4)), tail_path((1, 5))]
    assert folder.read(tail_path((1, 4))) == cut


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_local_folder_that_cannot_be_listed_is_not_empty(tmp_path, monkeypatch, code, below):
    folder, scandir = Folder(tmp_path), os.scandir
    folder.write("a/b/c", b"x")

    def broken(path):
        if os.fspath(path) == os.fspath(tmp_path / below):
            raise OSError(code, os.strerror(code))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(UnavailableError, match=f"cannot list .*: {os.strerror(code)}"):
        folder.list()
    with pytest.raises(UnavailableError):
        folder.delete_all()
    if not below:
        with pytest.raises(UnavailableError):
            folder.folders()
    monkeypatch.undo()
    assert folder.list() == ["a/b/c"]


def test_what_cannot_be_looked_for_is_not_missing(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.write("a", b"x")

    def stale(self, **options):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("pathlib.Path.stat", stale)
    with pytest.raises(UnavailableError, match="cannot look for"):
        folder.exists("a")


def test_a_bucket_that_is_missing_is_not_a_missing_object(moto_s3):
    for ask in (Folder.exists, Folder.read):
        with pytest.raises(UnavailableError, match="there is no bucket 'nothing-here'"):
            ask(Folder("s3://nothing-here/x"), "a")
    assert not Folder(moto_s3).exists("a")

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from raykd.store import Folder, StoreError
from raykd.store.errors import MissingObjectError


def test_what_is_written_is_read(root):
    folder = Folder(root)
    assert folder.write("a/b.bin", b"\x00\xff")
    assert folder.write("a/b.bin", b"new")
    assert folder.read("a/b.bin") == b"new"
    assert folder.write("empty", b"")
    assert folder.read("empty") == b""


def test_names_with_spaces_and_accents(root):
    folder = Folder(root).sub("a b/ü")
    folder.write("x y.json", b"1")
    assert folder.list() == ["x y.json"]
    assert Folder(root).read("a b/ü/x y.json") == b"1"


def test_what_is_not_there(root):
    folder = Folder(root)
    assert not folder.exists("a")
    with pytest.raises(MissingObjectError, match="does not exist"):
        folder.read("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")
    with pytest.raises(StoreError):
        folder.read("a")
    assert folder.list() == folder.list("x") == folder.folders() == []
    folder.delete("a")
    folder.delete_all("x")


def test_list_is_recursive_sorted_and_relative(root):
    folder = Folder(root).sub("study")
    for path in ("b/2", "b/1/z", "a", "bb/1"):
        folder.write(path, b"x")
    assert folder.list() == ["a", "b/1/z", "b/2", "bb/1"]
    assert folder.list("b") == ["b/1/z", "b/2"]
    assert folder.folders() == ["b", "bb"]
    assert Folder(root).folders() == ["study"]
    assert folder.exists("a")
    assert not folder.exists("b")


def test_delete(root):
    folder = Folder(root)
    for path in ("a/1", "a/2", "ab"):
        folder.write(path, b"x")
    folder.delete("a/1", "nothing")
    assert folder.list() == ["a/2", "ab"]
    folder.delete_all("a")
    assert folder.list() == ["ab"]
    folder.delete_all()
    assert folder.list() == []


def test_write_if_absent_keeps_what_is_there(root):
    folder = Folder(root)
    assert folder.write("a", b"first", if_absent=True)
    assert not folder.write("a", b"second", if_absent=True)
    assert folder.read("a") == b"first"


def test_of_many_writers_one_wins(conditional_root):
    folder = Folder(conditional_root)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: folder.write("a", b"%d" % i, if_absent=True), range(8)))
    assert sum(won) == 1
    assert folder.read("a") == b"%d" % won.index(True)


def test_read_all_skips_what_is_missing(root):
    folder = Folder(root)
    for i in range(20):
        folder.write(f"x/{i}", b"%d" % i)
    found = folder.read_all([f"x/{i}" for i in range(25)])
    assert found == {f"x/{i}": b"%d" % i for i in range(20)}


def test_check_leaves_nothing_behind(root):
    folder = Folder(root)
    folder.check()
    folder.check(write=False)
    assert folder.list() == []


def test_pickles_as_its_uri(root):
    folder = Folder(root)
    folder.write("a/b", b"x")
    for one in (folder, folder.sub("a")):
        again = pickle.loads(pickle.dumps(one))
        assert again == one
        assert hash(again) == hash(one)
        assert again.list() == one.list()


@pytest.mark.parametrize("path", ["", "/a", "../a", "a//b", "a/./b", "a/.."])
def test_paths_stay_below(tmp_path, path):
    with pytest.raises(StoreError, match="is not a path below"):
        Folder(tmp_path).write(path, b"")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://bucket/x", "use a local folder or s3://"),
        ("s3://", "is no bucket name"),
        ("s3://a b/x", "is no bucket name"),
        ("s3:/bucket/x", "lost a slash"),
        ("s3://key:secret@bucket/x", "without credentials"),
        ("s3://bucket/x?region=eu-west-1", "without options"),
    ],
)
def test_uris_that_are_no_store(uri, message):
    with pytest.raises(StoreError, match=message) as caught:
        Folder(uri)
    assert "secret" not in str(caught.value)


def test_uris_have_one_form(tmp_path, monkeypatch):
    assert Folder("s3://bucket//a/b/").uri == "s3://bucket/a/b"
    assert Folder("s3://bucket").uri == "s3://bucket"
    assert Folder("s3://bucket").sub("a").uri == "s3://bucket/a"
    monkeypatch.chdir(tmp_path)
    assert Folder("x").uri == Folder(tmp_path / "x").uri == Folder(f"file://{tmp_path}/x").uri


def test_folders_and_their_errors_need_no_pyarrow():
    """Training needs no more of a store, and runs on machines that have no pyarrow."""
    code = (
        "import sys; sys.modules['pyarrow'] = sys.modules['botocore'] = None;"
        "import raykd.store.errors; from raykd.store import Folder, StoreError"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

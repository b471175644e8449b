import os

import pytest

from raykd.store import Folder, StoreError, UnavailableError


def test_a_killed_write_leaves_the_old_bytes_and_is_not_listed(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.write("a", b"old")

    def die(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    monkeypatch.setattr("pathlib.Path.unlink", lambda *args, **options: None)  # SIGKILL cleans not
    with pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new")
    assert folder.read("a") == b"old"
    assert folder.list() == ["a"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match=r"cannot write .*/a: No space left on device"):
        Folder(tmp_path).write("a", b"x")
    assert Folder(tmp_path).list() == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; a store is a folder"):
        Folder(tmp_path / "file").check()
    with pytest.raises(StoreError, match="cannot write to the folder"):
        Folder(tmp_path / "file" / "below").check()


def test_check_makes_the_folder_only_to_write(tmp_path):
    Folder(tmp_path / "a").check(write=False)
    assert not (tmp_path / "a").exists()
    Folder(tmp_path / "a").check()
    assert list((tmp_path / "a").iterdir()) == []

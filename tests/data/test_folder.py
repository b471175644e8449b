import json
import os
import socket

import pyarrow.parquet as pq
import pytest

from raykd.data import folder
from raykd.data.folder import Folder, split_folders
from raykd.data.imagenet import Images
from raykd.data.pack import pack
from raykd.data.source import Shards, open_splits


@pytest.fixture(autouse=True)
def nothing_said_before():
    folder.say.cache_clear()


@pytest.fixture
def a(photos):
    return photos / "train" / "class000"


def names(root):
    found = Folder(root)
    return {found.name(i) for i in range(len(found.target))}


def to_nowhere(a):
    (a / "x.jpg").symlink_to("/nowhere/x.jpg")


def to_itself(a):
    (a / "x.jpg").symlink_to(a / "x.jpg")


def to_its_folder(a):
    (a / "x").symlink_to(a, target_is_directory=True)


def to_all_splits(a):
    (a / "x").symlink_to(a.parent.parent, target_is_directory=True)


def pipe(a):
    os.mkfifo(a / "x.jpg")


def listening(a):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(a, os.O_RDONLY)  # the path itself may be too long for an address
        server.bind(f"/proc/self/fd/{here}/x.jpg")
        os.close(here)


def bitmap(a):
    (a / "x.BMP").write_bytes(b"BM")


def no_suffix(a):
    (a / "x").write_bytes(b"")


def loose(a):
    (a.parent / "x.jpg").write_bytes(b"")


def class_to_nowhere(a):
    (a.parent / "x").symlink_to("/nowhere", target_is_directory=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (to_nowhere, "1 link to nowhere: class000/x.jpg"),
        (to_itself, "1 link to nowhere: class000/x.jpg"),
        (to_its_folder, "1 link to a folder above it: class000/x"),
        (to_all_splits, "1 link to a folder above it: class000/x"),
        (pipe, "1 neither a file nor a folder: class000/x.jpg"),
        (listening, "1 neither a file nor a folder: class000/x.jpg"),
        (bitmap, "1 .bmp: class000/x.BMP"),
        (no_suffix, "1 without a suffix: class000/x"),
        (loose, "1 in no class folder: x.jpg"),
        (class_to_nowhere, "1 link to nowhere: x"),
    ],
)
def test_what_is_left_out_is_named_once(photos, a, caplog, make, reason):
    before = Folder(photos / "train").sha256
    make(a)
    assert [Folder(photos / "train").sha256 for _ in range(2)] == [before, before]
    assert len(caplog.records) == 1
    assert reason in caplog.text


def test_many_of_a_kind_are_counted(photos, a, caplog):
    for number in range(5):
        (a / f"{number}.tif").touch()
    Folder(photos / "train")
    assert "5 .tif: class000/" in caplog.text
    assert caplog.text.count(".tif,") == 3
    assert ", …" in caplog.text


def test_litter_of_systems_is_not_worth_a_word(photos, a, caplog):
    for name in (".DS_Store", "._x.jpg", "Thumbs.db", "desktop.ini"):
        (a / name).touch()
        (a.parent / name).touch()
    (photos / ".cache").mkdir()
    before = len(names(photos / "train"))
    assert before == 60
    assert not caplog.records


def test_links_to_images_and_folders_elsewhere_are_read(photos, a, tmp_path, caplog):
    (a / "link.jpg").symlink_to(next(a.iterdir()))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "y.JPEG").write_bytes(b"")
    (a / "more").symlink_to(tmp_path / "more", target_is_directory=True)
    assert {"class000/link.jpg", "class000/more/y.JPEG"} < names(photos / "train")
    assert not caplog.records


def test_names_that_are_not_utf8(photos, a, tmp_path, caplog):
    next(a.iterdir()).rename(a / os.fsdecode(b"caf\xe9.jpeg"))
    for split in ("train", "val"):
        (photos / split / "class001").rename(photos / split / os.fsdecode(b"\xfcbung"))
    data = Images(photos, size=16, batch_size=16, decoders=0, validation=0.0)
    assert sum(len(batch.index) for batch in data.train(0)) == 60
    assert r"class000/caf\xe9.jpeg" in names(photos / "train")
    pack(photos, tmp_path / "packed")
    found, packed = Folder(photos / "train"), Shards(str(tmp_path / "packed"), "train")
    assert found.classes == packed.classes == ["class000", "class002", r"\xfcbung"]
    assert found.sha256 == packed.sha256
    assert found.read(range(60)) == packed.read(range(60))
    assert r"class000/caf\xe9.jpeg" in pq.read_table(tmp_path / "packed/train")["name"].to_pylist()
    json.dumps(data.describe()).encode()


def test_an_image_that_has_gone_is_named(photos, a):
    data = Images(photos, size=16, batch_size=16, decoders=0, validation=0.0, on_damaged="skip")
    gone = next(a.iterdir())
    gone.unlink()
    with pytest.raises(ValueError, match=rf"the image .*{gone.name} can't be read \(No such file"):
        list(data.train(0))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_class_folders(photos, split):
    (photos / split).rename(photos / "away") if split != "test" else None
    (photos / split).mkdir()
    for number in range(8):
        (photos / split / f"{number}.jpg").touch()
    with pytest.raises(ValueError, match=rf"{split} holds 8 images and no class folders"):
        split_folders(photos)


def test_a_class_of_which_all_is_left_out_says_why(photos, a):
    for file in a.iterdir():
        file.rename(file.with_suffix(".gif"))
    with pytest.raises(ValueError, match=r"class000 has no images .*left out: 20 .gif: class000"):
        split_folders(photos)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_of_val_are_read_and_said(photos, caplog, name):
    before = {split: source.sha256 for split, source in open_splits(str(photos)).items()}
    (photos / "val").rename(photos / name)
    assert {split: source.sha256 for split, source in open_splits(str(photos)).items()} == before
    assert f"{name}/ is taken as val/" in caplog.text


def test_folders_beside_the_splits_are_said(photos, tmp_path, caplog):
    (photos / "valid").mkdir()
    (photos / "Test").mkdir()
    assert list(split_folders(photos)) == ["train", "val"]
    assert "train/, val/ are read; 2 other folders are left out: Test/, valid/" in caplog.text
    caplog.clear()
    folder.say.cache_clear()
    assert pack(photos, tmp_path / "packed") == {"train": 60, "val": 15}
    assert "2 other folders are left out: Test/, valid/" in caplog.text


def test_a_folder_without_splits_says_what_there_is(photos):
    with pytest.raises(ValueError, match=r"no folder .*train/train.*; there are class000, class"):
        split_folders(photos / "train")


def test_classes_that_differ_in_case_only(photos, caplog):
    (photos / "train" / "class001").rename(photos / "train" / "Class000")
    assert len(Folder(photos / "train").classes) == 3
    assert "the classes Class000 and class000 differ in case only" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read(photos, a):
    a.chmod(0)
    with pytest.raises(ValueError, match=r"class000 can't be read \(Permission denied\)"):
        Folder(photos / "train")
    a.chmod(0o700)

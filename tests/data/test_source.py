import shutil

import boto3
import numpy as np
import pytest

from raykd.data.pack import pack
from raykd.data.source import Folder, Shards, block, open_splits
from raykd.store import UnavailableError
from raykd.store.local import LocalFiles


def test_block_grows_with_the_data():
    assert [block(n) for n in (1, 9_999, 50_000, 1_281_167)] == [1, 1, 5, 16]


def test_folder_lists_every_image_once(made_photos):
    folder = Folder(made_photos / "train")
    assert folder.classes == ["class000", "class001", "class002"]
    names = [folder.name(i) for i in range(60)]
    expected = [str(p.relative_to(made_photos / "train")) for p in made_photos.glob("train/*/*")]
    assert sorted(names) == sorted(expected)
    assert names != sorted(names)
    for position in (3, 59):
        assert names[position].startswith(folder.classes[folder.target[position]])
        [data] = folder.read([position])
        assert data == (made_photos / "train" / names[position]).read_bytes()


def test_folder_of_any_depth_without_hidden_files(photos):
    deep = photos / "train" / "class000" / "deep"
    deep.mkdir()
    shutil.copy(next((photos / "train" / "class001").iterdir()), deep / "x.JPG")
    (photos / "train" / "class000" / ".hidden.jpg").touch()
    (photos / "train" / "class000" / "notes.txt").touch()
    (photos / "train" / ".cache").mkdir()
    names = [Folder(photos / "train").name(i) for i in range(61)]
    assert "class000/deep/x.JPG" in names


def test_contents_are_named(made_photos, photos):
    first = Folder(made_photos / "train").sha256
    assert Folder(photos / "train").sha256 == first
    file = next((photos / "train" / "class000").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    assert Folder(photos / "train").sha256 != first


def test_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match="is empty"):
        Folder(tmp_path)
    (tmp_path / "cats").mkdir()
    with pytest.raises(ValueError, match="cats has no images"):
        Folder(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*train"):
        open_splits(str(tmp_path))


@pytest.fixture
def packed(made_photos, tmp_path):
    pack(made_photos, tmp_path / "packed", shard_images=16)
    return tmp_path / "packed"


def test_shards_hold_what_the_folder_does(made_photos, packed):
    folder, shards = Folder(made_photos / "train"), Shards(str(packed), "train")
    assert shards.sha256 == folder.sha256
    assert shards.classes == folder.classes
    assert (shards.target == folder.target).all()
    positions = np.random.default_rng(0).permutation(60).tolist()
    assert shards.read(positions) == folder.read(positions)
    assert [shards.name(i) for i in positions] == [folder.name(i) for i in positions]
    assert set(open_splits(str(packed))) == {"train", "val"}


def test_truncated_and_missing_shards(packed):
    shard = packed / "train" / "00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard train/00002.parquet .* is damaged: \d+ bytes"):
        Shards(str(packed), "train")
    shard.unlink()
    with pytest.raises(ValueError, match=r"shard train/00002.parquet .* is missing"):
        Shards(str(packed), "train")


def test_a_shard_damaged_later(packed):
    shards = Shards(str(packed), "train")
    file = packed / "train" / "00000.parquet"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(ValueError, match=r"00000.parquet is damaged"):
        shards.read([0])


def test_packing_that_was_not_finished(packed):
    (packed / "index" / "train.parquet").unlink()
    with pytest.raises(ValueError, match="no complete split train: `raykd pack`"):
        open_splits(str(packed))


def test_addresses():
    with pytest.raises(ValueError, match="use a local folder or s3://"):
        open_splits("nowhere://x")
    with pytest.raises(ValueError, match="the data holds credentials") as caught:
        open_splits("s3://somebody:a/secret@bucket/prefix")
    assert "secret" not in str(caught.value)


def test_reading_waits_for_a_storage_that_fails(packed, monkeypatch, caplog):
    shards, read_part, failures = Shards(str(packed), "train"), LocalFiles.read_part, [1, 2, 3]

    def fails(self, key, first, count):
        if failures:
            failures.pop()
            raise UnavailableError("it cannot be reached")
        return read_part(self, key, first, count)

    monkeypatch.setattr(LocalFiles, "read_part", fails)
    monkeypatch.setattr("raykd.store.retry.time.sleep", lambda seconds: None)
    assert len(shards.read([0, 1])) == 2
    assert not failures
    assert f"waiting for the data at {packed}" in caplog.text


@pytest.mark.parametrize("name", ["a b", "ü", "v#2", "50%20off", "[x]", "a+b", "what?"])
def test_names_in_s3_are_taken_as_they_are(made_photos, moto_s3, name):
    root = f"{moto_s3}/{name}"
    pack(made_photos, root, shard_images=64)
    folder, shards = Folder(made_photos / "train"), open_splits(root)["train"]
    assert shards.read([5, 7]) == folder.read([5, 7])
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    keys = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    assert f"{prefix}/index/train.parquet" in [entry["Key"] for entry in keys]


@pytest.mark.usefixtures("moto_s3")
def test_a_bucket_that_is_missing_is_said_at_once(made_photos):
    with pytest.raises(UnavailableError, match="there is no bucket 'nobody'"):
        pack(made_photos, "s3://nobody/photos")
    with pytest.raises(UnavailableError, match="there is no bucket 'nobody'"):
        open_splits("s3://nobody/photos")

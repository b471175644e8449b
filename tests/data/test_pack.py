import pyarrow.parquet as pq
import pytest

from raykd.data.pack import pack
from raykd.data.source import open_splits


def stamps(folder):
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.glob("*/*.parquet"))}


def test_packs_with_progress(made_photos, tmp_path):
    seen = []
    counts = pack(made_photos, tmp_path, shard_images=25, progress=lambda *now: seen.append(now))
    assert counts == {"train": 60, "val": 15}
    assert seen == [(25, 75), (50, 75), (60, 75), (75, 75)]
    assert not list(tmp_path.glob("**/*.part"))
    table = pq.read_table(tmp_path / "train" / "00002.parquet")
    assert table.column_names == ["image", "label", "name"]
    assert len(table) == 10


def test_goes_on_where_it_stopped(made_photos, tmp_path):
    def stop(done, total):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(made_photos, tmp_path, shard_images=25, progress=stop)
    with pytest.raises(ValueError, match="no complete split"):
        open_splits(f"file://{tmp_path}")
    first = stamps(tmp_path)
    assert len(first) == 2
    pack(made_photos, tmp_path, shard_images=25)
    assert first.items() <= stamps(tmp_path).items()
    whole = stamps(tmp_path)
    pack(made_photos, tmp_path, shard_images=25)
    assert stamps(tmp_path) == whole
    assert set(open_splits(str(tmp_path))) == {"train", "val"}


def test_writes_a_damaged_shard_again(made_photos, tmp_path):
    pack(made_photos, tmp_path, shard_images=25)
    shard = tmp_path / "train" / "00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1000])
    pack(made_photos, tmp_path, shard_images=25)
    assert shard.read_bytes() == whole


def test_never_mixes_two_data_sets(made_photos, photos, tmp_path):
    pack(made_photos, tmp_path / "packed", shard_images=25)
    next((photos / "train" / "class000").iterdir()).unlink()
    with pytest.raises(ValueError, match="holds other images"):
        pack(photos, tmp_path / "packed", shard_images=25)
    with pytest.raises(ValueError, match="shards of another size"):
        pack(made_photos, tmp_path / "packed", shard_images=30)


def test_bad_input(made_photos, tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*train; nothing to pack"):
        pack(tmp_path, tmp_path / "packed")
    with pytest.raises(ValueError, match="shard_images is 0"):
        pack(made_photos, tmp_path / "packed", shard_images=0)

import json
import shutil

import pytest
import torch

from raykd.data.imagenet import ImageNet, Images
from raykd.data.pack import pack
from raykd.data.synthetic import make, write_images


def images(root, **changes):
    return Images(root, **{"size": 16, "batch_size": 16, "decoders": 0} | changes)


def rows(batches):
    return [tuple(batch) for batch in batches]


def same(a, b):
    return len(a) == len(b) and all(
        x.equal(y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


def test_splits(made_photos):
    d = images(made_photos)
    assert (len(d), d.classes, d.shape) == (54, 3, (3, 16, 16))
    assert [len(b.index) for b in d.train(0)] == [16, 16, 16, 6]
    assert sum(len(b.index) for b in d.validation()) == 6
    assert sum(len(b.index) for b in d.test()) == 15
    index = torch.cat([b.index for b in d.train(1)])
    assert index.sort().values.equal(torch.arange(54))
    assert torch.cat([b.target for b in d.train(1)]).equal(d.targets[index])


def test_an_epoch_is_repeated_exactly_and_differs_from_the_next(made_photos):
    first = rows(images(made_photos).train(3))
    assert same(first, rows(images(made_photos).train(3)))
    assert not same(first, rows(images(made_photos).train(4)))
    assert not same(first, rows(images(made_photos, seed=1).train(3)))


def test_seed_chooses_the_validation_split_and_leaves_the_test_set(made_photos):
    one, other = images(made_photos), images(made_photos, seed=1)
    assert not same(rows(one.validation()), rows(other.validation()))
    assert same(rows(one.test()), rows(other.test()))


def test_shards_give_the_same_batches(made_photos, tmp_path):
    pack(made_photos, tmp_path, shard_images=8)
    folder, shards = images(made_photos), images(tmp_path)
    assert folder.describe() == shards.describe()
    assert same(rows(folder.train(2)), rows(shards.train(2)))
    assert same(rows(folder.validation()), rows(shards.validation()))
    assert same(rows(folder.test()), rows(shards.test()))


@pytest.mark.parametrize("server", ["moto_s3", "rclone_s3"])
def test_shards_on_s3_give_the_same_batches(made_photos, server, request):
    root = request.getfixturevalue(server)
    with pytest.raises(ValueError, match="no complete split train"):
        images(root)
    pack(made_photos, root, shard_images=32)
    pack(made_photos, root, shard_images=32)
    assert same(rows(images(made_photos).train(0)), rows(images(root).train(0)))


@pytest.mark.slow
def test_unreachable_server(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-told")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9 cannot be reached") as caught:
        images("s3://bucket/prefix")
    assert "not-to-be-told" not in str(caught.value)


@pytest.mark.slow
def test_processes_give_the_same_batches(made_photos, moto_s3):
    alone, helped = images(made_photos), images(made_photos, decoders=2)
    pack(made_photos, moto_s3)
    remote = images(moto_s3, decoders=1)
    next(helped.train(5))  # and leave
    for epoch in (0, 1):
        expected = rows(alone.train(epoch))
        assert same(expected, rows(helped.train(epoch)))
        assert same(expected, rows(remote.train(epoch)))
        assert same(rows(alone.validation()), rows(helped.validation()))


def test_the_global_random_state_is_left_alone(made_photos):
    before = torch.get_rng_state()
    list(images(made_photos).train(0))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("world", [2, 3])
def test_workers_see_the_same_global_batches(made_photos, world):
    alone = images(made_photos)
    workers = [images(made_photos, rank=rank, world=world) for rank in range(world)]
    parts = zip(*(worker.train(1) for worker in workers), strict=True)
    for batch, shares in zip(alone.train(1), parts, strict=True):
        for whole, share in zip(batch, zip(*shares, strict=True), strict=True):
            assert torch.cat(share).equal(whole)
    for split in ("validation", "test"):
        index = torch.cat([b.index for worker in workers for b in getattr(worker, split)()])
        expected = torch.cat([b.index for b in getattr(alone, split)()])
        assert index.equal(expected)


def test_without_a_test_set_a_tenth_of_train_is_kept(photos):
    shutil.rmtree(photos / "val")
    one, other = images(photos), images(photos, seed=1)
    assert (len(one), one.describe()["validation"], one.describe()["test"]) == (49, 5, 6)
    assert same(rows(one.test()), rows(other.test()))


def test_val_is_the_validation_split_where_there_is_a_test_set(photos):
    shutil.copytree(photos / "val", photos / "test")
    d = images(photos)
    assert (len(d), d.describe()["validation"], d.describe()["test"]) == (60, 15, 15)


def test_damaged_images(photos, caplog):
    files = sorted((photos / "train" / "class001").iterdir())[:2]
    files[0].write_bytes(files[0].read_bytes()[:200])
    files[1].write_bytes(b"")
    with pytest.raises(ValueError, match=r"the image class001/\d+.jpeg is damaged"):
        list(images(photos, validation=0.0).train(0))
    d = images(photos, validation=0.0, on_damaged="skip")
    for epoch in (0, 1):
        assert sum(len(b.index) for b in d.train(epoch)) == 58
    assert sorted(d.damaged) == [f"class001/{file.name}" for file in files]
    assert len(caplog.records) == 2
    assert files[0].name in caplog.text


def test_decoder_processes_say_what_this_one_says(photos):
    for split in ("train", "val"):
        broken = sorted((photos / split / "class001").iterdir())[0]
        broken.write_bytes(b"no image")
    gone = sorted((photos / "train" / "class002").iterdir())[0]
    here, helped = (images(photos, validation=0.0, decoders=count) for count in (0, 1))
    told = []
    for data in (here, helped):
        for stream in (lambda d=data: d.train(0), data.test):
            with pytest.raises(
                ValueError, match=r"the image class001/\d+.jpeg is damaged"
            ) as caught:
                list(stream())
            told.append(str(caught.value))
    assert told[:2] == told[2:]
    skipping = images(photos, validation=0.0, decoders=1, on_damaged="skip")
    assert [sum(len(b.index) for b in s) for s in (skipping.train(0), skipping.test())] == [59, 14]
    gone.unlink()
    with pytest.raises(ValueError, match=rf"{gone.name} can't be read \(No such") as caught:
        list(skipping.train(1))
    assert "Traceback" not in str(caught.value)


def test_a_batch_of_damaged_images(photos):
    for file in photos.glob("*/*/*"):
        file.write_bytes(b"x")
    d = images(photos, on_damaged="skip")
    assert list(d.validation()) == []
    with pytest.raises(ValueError, match="all images of a batch are damaged"):
        next(d.train(0))


def test_description(made_photos):
    d = images(made_photos)
    assert json.loads(json.dumps(d.describe())) == d.describe()
    assert d.describe() == images(str(made_photos), world=2, rank=1).describe()
    assert str(made_photos) not in json.dumps(d.describe())


def test_imagenet(made_photos):
    d = ImageNet(made_photos, decoders=0, batch_size=4, validation=0.1)
    assert d.shape == (3, 224, 224)
    assert next(d.train(0)).input.shape == (4, 3, 224, 224)
    assert next(d.test()).input.abs().max() < 3


def test_classes_that_differ(photos):
    (photos / "val" / "class001").rename(photos / "val" / "dogs")
    with pytest.raises(ValueError, match=r"only in train \['class001'\], only in val \['dogs'\]"):
        images(photos)


def test_one_class(tmp_path):
    write_images(tmp_path, make(2, (3, 8, 8), 20, 4))
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / split / "class001")
    with pytest.raises(ValueError, match="1 class;"):
        images(tmp_path, batch_size=2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"batch_size": 55}, "batch size is 55"),
        ({"world": 55}, "55 workers"),
        ({"on_damaged": "hide"}, "known: raise, skip"),
        ({"size": 0}, "size is 0"),
        ({"decoders": -1}, "decoders is -1"),
        ({"validation": 1.5}, "validation is 1.5"),
    ],
)
def test_bad_input(made_photos, bad, message):
    with pytest.raises(ValueError, match=message):
        images(made_photos, **bad)

import json

import pytest
import torch

from raykd.data.synthetic import Synthetic


def data(**changes):
    return Synthetic(**{"classes": 5, "shape": (3, 8, 8), "samples": 125, "tests": 31} | changes)


def rows(batches):
    return [tuple(part.clone() for part in batch) for batch in batches]


def same(a, b):
    return len(a) == len(b) and all(
        x.equal(y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True)
    )


def test_an_epoch_is_repeated_exactly_and_differs_from_the_next():
    first = rows(data().train(3))
    assert same(first, rows(data().train(3)))
    assert not same(first, rows(data().train(4)))
    assert not same(first, rows(data(seed=1).train(3)))


def test_an_epoch_shows_every_sample_once_and_keeps_the_last_batch():
    d = data(batch_size=64)
    batches = rows(d.train(0))
    assert [len(index) for index, _, _ in batches] == [64, 36]
    index = torch.cat([index for index, _, _ in batches])
    assert index.sort().values.equal(torch.arange(len(d)))
    assert torch.cat([target for _, _, target in batches]).equal(d.targets[index])


def test_any_view_can_be_named_and_seen_again():
    d = data()
    for epoch in (0, 7):
        view = d.view_index(epoch)
        assert view.min() >= 0
        assert view.max() < d.views == 162
        for index, image, _ in d.train(epoch):
            assert d.look(index, view[index]).equal(image)


@pytest.mark.parametrize("world", [2, 3])
def test_workers_see_the_same_global_batches(world):
    alone = data(batch_size=16)
    workers = [data(batch_size=16, rank=rank, world=world) for rank in range(world)]
    parts = zip(*(worker.train(1) for worker in workers), strict=True)
    for batch, shares in zip(alone.train(1), parts, strict=True):
        for whole, share in zip(batch, zip(*shares, strict=True), strict=True):
            assert torch.cat(share).equal(whole)
    for split in ("validation", "test"):
        index = torch.cat([b.index for worker in workers for b in getattr(worker, split)()])
        expected = torch.cat([b.index for b in getattr(alone, split)()])
        assert index.sort().values.equal(expected)


def test_splits_are_disjoint_and_follow_the_seed():
    d, other = data(), data(seed=1)
    kept = d.look(torch.arange(len(d)), torch.full((len(d),), d.crop.centre)).flatten(1)
    held_out = torch.cat([b.input for b in d.validation()]).flatten(1)
    assert (len(kept), len(held_out)) == (100, 25)
    assert torch.cdist(kept, held_out).min() > 0.1
    assert not held_out.equal(torch.cat([b.input for b in other.validation()]).flatten(1))
    test = [torch.cat([b.input for b in x.test()]) for x in (d, other)]
    assert test[0].equal(test[1])


def test_description_names_contents_not_place():
    d = data()
    assert json.loads(json.dumps(d.describe())) == d.describe()
    assert d.describe() == data(world=2, rank=1, device="cpu").describe()
    assert d.describe() != data(seed=1).describe()
    assert d.describe()["sha256"] == data(seed=1).describe()["sha256"]
    assert d.describe()["sha256"] != data(noise=0.5).describe()["sha256"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"batch_size": 101}, "batch size is 101"),
        ({"world": 101}, "101 workers"),
        ({"classes": 1}, "1 class;"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(ValueError, match=message):
        data(**bad)

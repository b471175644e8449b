import numpy as np
import pytest

from raykd.data.stream import block_order, check, shares, split


def test_split_is_disjoint_complete_and_by_seed():
    train, held_out = split(1000, 0.1, seed=0)
    assert (len(train), len(held_out)) == (900, 100)
    assert sorted([*train, *held_out]) == list(range(1000))
    again = split(1000, 0.1, seed=0)
    assert (train == again[0]).all()
    assert (held_out == again[1]).all()
    assert (held_out != split(1000, 0.1, seed=1)[1]).any()
    assert len(split(10, 0.0, seed=0)[1]) == 0


def test_whole_blocks_are_held_out():
    train, held_out = split(1000, 0.1, seed=0, block=10)
    assert (len(train), len(held_out)) == (900, 100)
    assert len(set(held_out // 10)) == 10


def test_blocks_stay_together():
    position = np.array([0, 1, 2, 5, 6, 7, 8, 9, 10, 11])
    order = block_order(position, 4, seed=0, epoch=0)
    assert sorted(order) == list(range(10))
    runs = [i for i in range(1, 10) if position[order[i]] // 4 != position[order[i - 1]] // 4]
    assert len(runs) == 2
    assert {tuple(block_order(position, 4, 0, epoch)) for epoch in range(50)} != {tuple(order)}


@pytest.mark.parametrize("validation", [-0.1, 1.0, 0.99, 0.001])
def test_split_says_what_is_wrong(validation):
    with pytest.raises(ValueError, match="validation"):
        split(20, validation, seed=0)


def test_the_last_batch_is_kept():
    slices = list(shares(50_000, 64, 0, 1))
    assert len(slices) == 782
    assert slices[-1] == slice(49_984, 50_000)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_share_each_batch(world):
    alone = [np.arange(103)[s] for s in shares(103, 16, 0, 1)]
    together = zip(*(shares(103, 16, rank, world) for rank in range(world)), strict=True)
    for batch, parts in zip(alone, together, strict=True):
        assert (np.concatenate([np.arange(103)[s] for s in parts]) == batch).all()
        sizes = [s.stop - s.start for s in parts]
        assert max(sizes) - min(sizes) <= 1


GOOD = {"count": 100, "classes": 10, "batch_size": 64, "seed": 0, "rank": 0, "world": 1}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": 1}, "1 class;"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 2, "world": 2}, "rank is 2"),
        ({"world": 101}, "101 workers and 100 training samples"),
        ({"batch_size": 101}, "batch size is 101"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"batch_size": 33, "world": 2}, "a batch of 1 samples"),
        ({"batch_size": 2, "world": 3}, "a batch of 2 samples"),
    ],
)
def test_check_says_what_is_wrong(bad, message):
    check(**GOOD)
    with pytest.raises(ValueError, match=message):
        check(**GOOD | bad)

"""Who goes on after a rung."""

import math

import pytest

from raykd.train.halving import Halving


def test_drops_nobody_between_rungs() -> None:
    assert Halving((2, 4)).drop(3, {"a": 1.0, "b": 0.0}) == []


def test_drops_the_lower_scores() -> None:
    scores = {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}
    assert set(Halving((2,)).drop(2, scores)) == {"a", "d"}
    assert Halving((2,), keep=0.75).drop(2, scores) == ["a"]


@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize("keep", [0.01, 1 / 3, 0.5, 0.99])
def test_keeps_the_share_rounded_up(count: int, keep: float) -> None:
    dropped = Halving((1,), keep).drop(1, {str(i): float(i) for i in range(count)})
    assert count - len(dropped) == math.ceil(count * keep) >= 1


def test_equal_scores_are_kept_in_their_order() -> None:
    assert Halving((1,)).drop(1, dict.fromkeys("cab", 0.5)) == ["b"]


def test_nobody_is_left_to_drop() -> None:
    assert Halving((1,)).drop(1, {}) == []


@pytest.mark.parametrize("keep", [0.0, 1.0, -0.5, 2.0])
def test_keep_is_a_share(keep: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, such as 0\.5"):
        Halving((1,), keep)


@pytest.mark.parametrize("rungs", [(0,), (1, 1), (-2, 3)])
def test_rungs_are_epochs(rungs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="different epochs from 1"):
        Halving(rungs)

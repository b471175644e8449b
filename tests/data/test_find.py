import pytest

from raykd.data import find
from raykd.data.cifar import CIFAR100
from raykd.data.glyphs import Glyphs


def test_find():
    assert find("glyphs") is Glyphs
    assert find("cifar100") is CIFAR100
    with pytest.raises(
        ValueError, match=r"unknown data set 'mnist'; known: .*digits.*synthetic"
    ) as e:
        find("mnist")
    assert "resident" not in str(e.value)
    assert "_cifar" not in str(e.value)

import pytest

from raykd.models import find
from raykd.report.published import cifar100, relative_improvement


@pytest.mark.parametrize(
    ("x", "y", "printed"),
    [
        ("l_corr", "reviewkd", -3.72),
        ("l_corr", "wcord", 16.17),
        ("itrd", "reviewkd", 6.79),
        ("itrd", "wcord", 24.44),
        ("itrd", "l_corr", 10.51),
    ],
)
def test_the_figures_of_table_2(x, y, printed):
    rows = cifar100()
    improvement = relative_improvement(rows[x].top1, rows[y].top1, rows["kd"].top1)
    assert round(improvement, 2) == printed


def test_table_1_is_whole():
    rows = cifar100()
    pairs = set(rows["kd"].top1)
    assert len(pairs) == 13
    missing = {(name, pair) for name, row in rows.items() for pair in pairs - set(row.top1)}
    assert missing == {
        ("reviewkd", "resnet110/resnet20"),
        ("reviewkd", "resnet50_cifar/vgg8"),
    }
    for row in rows.values():
        assert set(row.top1) <= pairs
        assert set(row.std) <= set(row.top1)
        assert all(55 < value < 80 for value in row.top1.values())


def test_networks_by_themselves_agree_between_pairs():
    rows = cifar100()
    for role, place in (("teacher", 0), ("vanilla", 1)):
        seen: dict[str, float] = {}
        for pair, value in rows[role].top1.items():
            assert seen.setdefault(pair.split("/")[place], value) == value


def test_known_corrections():
    rows = cifar100()
    assert rows["crd+kd"].top1["resnet56/resnet20"] == 71.63  # the paper's row "CRD"
    assert rows["crd"].top1["resnet56/resnet20"] == 71.16
    assert rows["itrd"].top1["resnet32x4/resnet8x4"] == 76.19  # 76.69 in the authors' README
    assert rows["itrd"].std["resnet110/resnet20"] == 0.46
    assert "best epoch" in rows["reviewkd"].note


def test_pairs_are_models_of_raykd():
    for pair in cifar100()["kd"].top1:
        for name in pair.split("/"):
            assert callable(find(name))


def test_relative_improvement_by_hand():
    x, y, kd = {"a": 3.0, "b": 2.0, "c": 9.0}, {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 1.0, "c": 1.0}
    assert relative_improvement(x, y, kd) == pytest.approx(100 * (1 / 1 + -1 / 2) / 2)


def test_relative_improvement_says_what_is_missing():
    with pytest.raises(ValueError, match="no pair"):
        relative_improvement({"a": 1.0}, {"b": 1.0}, {"a": 1.0})
    with pytest.raises(ValueError, match="level with KD for a"):
        relative_improvement({"a": 2.0}, {"a": 1.0}, {"a": 1.0})

import math

import pytest

from raykd.report import formatting


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("val_top1", "validation accuracy"),
        ("test_top5", "test top-5 accuracy"),
        ("val_loss", "validation loss"),
        ("params", "parameters"),
        ("images_per_second", "images_per_second"),
    ],
)
def test_titles(metric, title):
    assert formatting.title(metric) == title


@pytest.mark.parametrize(
    ("metric", "mean", "std", "text"),
    [
        ("val_top1", 0.85581, None, "85.58%"),
        ("val_top1", 0.85581, 0.0031, "85.58 ± 0.31%"),
        ("val_loss", 0.576942, None, "0.5769"),
        ("val_loss", 0.576942, 0.0123, "0.5769 ± 0.012"),
        ("params", 11284.0, None, "11,284"),
        ("val_top1", math.nan, None, ""),
    ],
)
def test_values(metric, mean, std, text):
    assert formatting.value(metric, mean, std) == text


def test_gains_are_signed_and_in_points_for_accuracies():
    assert formatting.gain("val_top1", 0.0312) == "+3.12"
    assert formatting.gain("val_loss", -0.25) == "-0.25"
    assert formatting.gain("val_top1", math.nan) == ""


def test_only_the_validation_split_has_a_counterpart():
    assert formatting.on_test("val_top1") == "test_top1"
    assert formatting.on_test("train_loss") is None


def test_settings_are_sorted_and_short():
    config = {"rank": 8, "alpha": 1.0123456, "kind": "mlp", "bias": None}
    assert formatting.settings(config) == "alpha = 1.012, bias = None, kind = mlp, rank = 8"


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (83.0, "1 min 23 s"), (7380.0, "2 h 3 min")]
)
def test_durations(seconds, text):
    assert formatting.duration(seconds) == text


def test_counts():
    assert formatting.counted(1, "trial") == "1 trial"
    assert formatting.counted(1200, "trial") == "1,200 trials"

import pytest

from raykd.store import Folder, StoreError
from raykd.store.spec import load_spec, objective, settle_spec


def test_is_written_once(root, made):
    folder = Folder(root)
    assert load_spec(folder) is None
    first = settle_spec(folder, made.spec | {"trials": 4, "schedule": (30, 60)})
    assert load_spec(folder) == first
    assert first["schedule"] == [30, 60]
    same = {"seed": 0.0, "space": {"alpha": (1, 2)}}
    assert settle_spec(folder, made.spec | {"trials": 8, "identity": same})["trials"] == 4


def test_another_identity_is_named(tmp_path, made):
    folder = Folder(tmp_path / "study")
    settle_spec(folder, made.spec)
    other = {"seed": 1, "space": {"alpha": (1, 3), "beta": [0.1]}}
    with pytest.raises(StoreError) as caught:
        settle_spec(folder, made.spec | {"identity": other})
    text = str(caught.value)
    assert "seed is 0 there and 1 here" in text
    assert "space.alpha is [1.0, 2.0] there and [1, 3] here" in text
    assert "space.beta is absent there and [0.1] here" in text
    assert "Choose another name" in text


@pytest.mark.parametrize(
    "change",
    [
        {"metric": []},
        {"metric": "val_top1"},
        {"mode": ["max", "min"]},
        {"mode": ["maximize"]},
        {"metric": None},
    ],
)
def test_bad_objectives(tmp_path, made, change):
    with pytest.raises(StoreError, match="give lists of the same length, the modes 'max' or 'min'"):
        settle_spec(Folder(tmp_path), made.spec | change)
    assert Folder(tmp_path).list() == []


def test_objective_is_the_first_that_epochs_report():
    assert objective({"metric": ["params", "loss"], "mode": ["min", "max"]}) == ("loss", "max")
    with pytest.raises(StoreError, match="must be reported by epochs"):
        objective({"metric": ["params", "cost_seconds"], "mode": ["min", "min"]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "cannot read .*study.json: not JSON"),
        (b"[]", "is no study of raykd"),
        (b'{"metric": ["a"], "mode": ["max"], "layout": 3}', "a later raykd; update this one"),
    ],
)
def test_what_is_no_specification(tmp_path, data, message):
    Folder(tmp_path).write("study.json", data)
    with pytest.raises(StoreError, match=message):
        load_spec(Folder(tmp_path))

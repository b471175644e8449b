"""An artefact is made once, shared, and refused when it is not what was written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raykd.store import Folder, StoreError
from raykd.train.artefact import Artefacts


class Maker:
    """Counts how often it is asked, and never makes the same again."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.calls, self.meanwhile = 0, meanwhile

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        self.meanwhile()
        weight = torch.full((2, 3), float(self.calls), requires_grad=True)
        return {"w": weight, "n": torch.tensor(self.calls), "t": weight.T}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def files(folder: Folder, ending: str) -> list[str]:
    return [path for path in folder.list("artefacts") if path.endswith(ending)]


def test_is_made_once_and_shared(folder: Folder) -> None:
    make = Maker()
    first = Artefacts(folder)("kind", {"rank": 3}, make)
    second = Artefacts(folder)("kind", {"rank": 3}, make)
    assert make.calls == 1
    assert {name: tensor.shape for name, tensor in second.items()} == {
        "w": (2, 3),
        "n": (),
        "t": (3, 2),
    }
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(tensor.requires_grad for tensor in first.values())


@pytest.mark.parametrize(
    ("kind", "config", "shared"),
    [
        ("other", {"rank": 3, "names": ["a"]}, {"teacher": "x"}),
        ("kind", {"rank": 4, "names": ["a"]}, {"teacher": "x"}),
        ("kind", {"rank": 3, "names": ["b"]}, {"teacher": "x"}),
        ("kind", {"rank": 3, "names": ["a"], "more": None}, {"teacher": "x"}),
        ("kind", {"rank": 3, "names": ["a"]}, {"teacher": "y"}),
        ("kind", {"rank": 3, "names": ["a"]}, {}),
    ],
)
def test_what_it_depends_on_tells_it_apart(
    folder: Folder, kind: str, config: dict[str, object], shared: dict[str, object]
) -> None:
    known = Artefacts(folder, {"teacher": "x"}).path("kind", {"names": ["a"], "rank": 3})
    assert known == Artefacts(folder, {"teacher": "x"}).path("kind", {"rank": 3, "names": ["a"]})
    assert Artefacts(folder, shared).path(kind, config) != known


def test_says_what_it_depends_on(folder: Folder) -> None:
    Artefacts(folder, {"teacher": "x"})("kind", {"rank": 3}, Maker())
    [record] = files(folder, ".json")
    stored = json.loads(folder.read(record))
    assert stored["kind"] == "kind"
    assert (stored["teacher"], stored["rank"]) == ("x", 3)


def test_a_tampered_file_is_named_and_refused(folder: Folder) -> None:
    artefacts = Artefacts(folder)
    artefacts("kind", {}, Maker())
    [tensors] = files(folder, ".safetensors")
    data = bytearray(folder.read(tensors))
    data[-1] ^= 1
    folder.write(tensors, bytes(data))
    place = artefacts.path("kind", {})
    with pytest.raises(StoreError, match=f"{place} was changed .*; delete that folder to have it"):
        artefacts("kind", {}, Maker())
    folder.delete_all(place)
    make = Maker()
    artefacts("kind", {}, make)
    assert make.calls == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"{}"])
def test_a_damaged_record_is_named_and_refused(folder: Folder, damage: bytes) -> None:
    artefacts = Artefacts(folder)
    artefacts("kind", {}, Maker())
    [record] = files(folder, ".json")
    folder.write(record, damage)
    with pytest.raises(StoreError, match=f"{artefacts.path('kind', {})} is not whole"):
        artefacts("kind", {}, Maker())


def test_lost_tensors_are_named(folder: Folder) -> None:
    artefacts = Artefacts(folder)
    artefacts("kind", {}, Maker())
    folder.delete(*files(folder, ".safetensors"))
    with pytest.raises(StoreError, match=r"is not whole .*; delete that folder"):
        artefacts("kind", {}, Maker())


def test_two_at_a_time_get_the_same(folder: Folder) -> None:
    """The second begins while the first is at work, and finishes before it."""
    quick = Maker()
    quick.calls = 10
    got: list[dict[str, Tensor]] = []
    slow = Maker(meanwhile=lambda: got.append(Artefacts(folder)("kind", {}, quick)))
    mine = Artefacts(folder)("kind", {}, slow)
    [theirs] = got
    assert (slow.calls, quick.calls) == (1, 11)
    assert mine["n"] == theirs["n"] == 11
    assert Artefacts(folder)("kind", {}, Maker())["n"] == 11


def test_a_maker_that_fails_leaves_nothing_behind(folder: Folder) -> None:
    def fail() -> dict[str, Tensor]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Artefacts(folder)("kind", {}, fail)
    make = Maker()
    Artefacts(folder)("kind", {}, make)
    assert make.calls == 1


def test_what_diverged_is_not_stored(folder: Folder) -> None:
    made = Artefacts(folder)("kind", {}, lambda: {"w": torch.tensor([1.0, float("nan")])})
    assert made["w"].isnan().any()
    assert list(folder.list("artefacts")) == []

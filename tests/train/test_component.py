"""A description tells apart what gives other numbers."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import network
from torch import nn
from torch.optim import SGD

from raykd.methods.kd import KD
from raykd.models.resnet import resnet8
from raykd.train.component import describe


def made(width: int, *, depth: int = 1, norm: object = nn.BatchNorm2d) -> nn.Module:
    return nn.Linear(width, depth)


def text(function: object) -> str:
    return json.dumps(describe(function), sort_keys=True)


def test_name_module_and_arguments() -> None:
    assert describe(partial(resnet8, num_classes=3)) == {
        "module": "raykd.models",
        "name": "resnet8",
        "num_classes": 3,
    }
    assert describe(KD) == {"module": "raykd.methods", "name": "KD"}


@pytest.mark.parametrize(
    "other",
    [
        made,
        partial(made, 2),
        partial(made, 1, depth=2),
        partial(made, 1, norm=nn.GroupNorm),
        partial(made, 1, norm=partial(nn.GroupNorm, 2)),
        partial(made, 1, norm=(nn.GroupNorm, 2)),
        partial(made, 1, norm=torch.float32),
        partial(network, 1),
    ],
)
def test_every_difference_shows(other: object) -> None:
    assert text(other) != text(partial(made, 1))


def test_position_or_keyword_is_the_same() -> None:
    assert text(partial(made, 3)) == text(partial(made, width=3))
    assert text(partial(made, 3, depth=1)) == text(partial(partial(made, depth=1), 3))


def test_the_outermost_partial_wins() -> None:
    inner = partial(SGD, lr=0.1, momentum=0.9)
    assert describe(partial(inner, lr=0.2))["lr"] == 0.2
    assert describe(partial(inner, lr=0.2))["momentum"] == 0.9


def test_nested_arguments_are_plain() -> None:
    described = describe(partial(made, 1, norm=[partial(SGD, lr=0.1), (1, None, "a")]))
    [optimizer, values] = described["norm"]
    assert (optimizer["name"], optimizer["lr"], values) == ("SGD", 0.1, [1, None, "a"])
    json.dumps(described)


def test_same_name_in_another_module() -> None:
    def resnet8() -> None: ...

    assert text(resnet8) != text(globals()["resnet8"])


class Nameless:
    def __call__(self) -> nn.Module:
        return nn.Linear(1, 1)


@pytest.mark.parametrize(
    "function",
    [lambda: nn.Linear(1, 1), partial(lambda width: nn.Linear(width, 1), 3), Nameless()],
)
def test_what_has_no_name_is_refused(function: object) -> None:
    with pytest.raises(ValueError, match="give a function or a class that has a name"):
        describe(function)


def test_arguments_without_a_face_are_refused() -> None:
    with pytest.raises(ValueError, match="give object a __repr__ that shows what it holds"):
        describe(partial(made, 1, norm=object()))
    with pytest.raises(ValueError, match="can't be told from others"):
        describe(partial(made, 1, norm=[lambda: None]))


def test_a_script_describes_the_same_however_it_is_loaded(tmp_path: Path) -> None:
    """Started, imported, imported from a package, and imported where a notebook would."""
    (tmp_path / "mine").mkdir()
    script = tmp_path / "mine" / "script.py"
    script.write_text(
        "def student(num_classes):\n    pass\n\n"
        "def told():\n"
        "    from raykd.train.component import describe\n    print(describe(student))\n\n"
        "if __name__ == '__main__':\n    told()\n"
    )
    ways = [
        [str(script)],
        ["-m", "mine.script"],
        ["-c", "from mine.script import told; told()"],
        ["-c", "import sys; sys.path.insert(0, 'mine'); from script import told; told()"],
    ]
    said = {
        subprocess.run(
            [sys.executable, *way], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        for way in ways
    }
    assert said == {"{'module': 'script', 'name': 'student'}\n"}

"""Every factory of a model and every data set says which of its arguments a store may set."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, get_type_hints

import pytest
from torch import nn

import raykd.data
import raykd.models
from raykd.data import Data
from raykd.models import Model
from raykd.storable import NEVER, declared, storable


def factories() -> list[Callable[..., Any]]:
    """Models: what takes `num_classes`. Data: classes that train, and functions that make one."""
    found = []
    for package in (raykd.models, raykd.data):
        for file in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, made in vars(import_module(file.name)).items():
                own = getattr(made, "__module__", "") == file.name and name[0] != "_"
                if own and _makes(made, package is raykd.data):
                    found.append(made)
    return found


def _makes(made: Any, data: bool) -> bool:
    if inspect.isabstract(made) or made in (Data, Model) or not callable(made):
        return False
    if not isinstance(made, type):
        return bool({"num_classes", "stream"} & _parameters(made))
    if data:
        return callable(getattr(made, "train", None)) and hasattr(made, "validation")
    return issubclass(made, nn.Module) and "num_classes" in _parameters(made)


def _parameters(made: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(made).parameters)


def assert_declared(factory: Callable[..., Any]) -> None:
    arguments = declared(factory)
    assert arguments is not None, (
        f"{factory.__module__}:{factory.__qualname__} does not say what a store may set; decorate"
        " it with @storable(...) from raykd.storable, with the names of its plain arguments"
    )
    assert arguments <= _parameters(factory), f"{factory} has no {arguments - _parameters(factory)}"
    assert not arguments & NEVER, f"a store may never set {arguments & NEVER} of {factory}"
    hints = get_type_hints(factory.__init__ if isinstance(factory, type) else factory)
    for name in arguments:
        assert name in hints, f"{factory} must say the type of {name}"
        text = str(hints[name])
        assert "Path" not in text, f"{name} of {factory} is a path"
        assert "Any" not in text, f"{name} of {factory} is anything"


@pytest.mark.parametrize("factory", factories(), ids=lambda f: f"{f.__module__}:{f.__qualname__}")
def test_a_factory_says_what_a_store_may_set(factory: Callable[..., Any]) -> None:
    assert_declared(factory)


def test_the_families_and_data_sets_are_found() -> None:
    names = {factory.__qualname__ for factory in factories()}
    assert {
        "CifarResNet",
        "resnet8",
        "torchvision_model",
        "VGG",
        "shufflenetv1",
        "BinaryResNet",
    } <= names
    assert {"Synthetic", "Images", "ImageNet", "CIFAR10", "Noise", "Digits", "Glyphs"} <= names
    assert {"sample_cifar100", "sample_imagenet"} <= names


def undeclared(num_classes: int = 10) -> None: ...


@storable("num_classes", "weights")
def fetching(num_classes: int = 10, weights: str = "") -> None: ...


@storable("wides")
def misspelt(widths: int = 1) -> None: ...


class Parent:
    def __init__(self, size: int) -> None: ...


@storable("size")
class Declared(Parent): ...


class Heir(Declared):
    """Inherits no declaration: what it does with the arguments may be something else."""


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (undeclared, r"undeclared does not say what a store may set; decorate it with @storable"),
        (fetching, "may never set"),
        (misspelt, "has no"),
        (Heir, "Heir does not say"),
    ],
)
def test_a_wrong_declaration_is_found(factory: Callable[..., Any], said: str) -> None:
    assert_declared(Declared)
    with pytest.raises(AssertionError, match=said):
        assert_declared(factory)

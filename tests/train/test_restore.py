"""A store names declared factories and sets declared arguments; nothing else is called."""

import json
import sys
from functools import partial

import pytest
import torch
from torch import nn

from raykd.data.cifar import CIFAR10
from raykd.data.noise import Noise
from raykd.data.synthetic import Synthetic
from raykd.models.imagenet import torchvision_model
from raykd.models.resnet import CifarResNet, resnet8
from raykd.models.resnet_cifar import Bottleneck, FourStageResNet
from raykd.models.vgg import VGG
from raykd.train.component import describe, locate
from raykd.train.restore import no_larger_than, restore


def made(width: int, *, depth: int = 1, name: str = "", exact: bool = True) -> nn.Module:
    return nn.Linear(width, depth)


def stored(function: object) -> dict[str, object]:
    return json.loads(json.dumps(locate(function)))


def named(place: str, **arguments: object) -> dict[str, object]:
    return {"function": place, "arguments": arguments}


@pytest.mark.parametrize(
    ("function", "role"),
    [
        (resnet8, "student"),
        (partial(partial(resnet8, num_classes=3), in_channels=1), "student"),
        (partial(CifarResNet, 1, (4, 4, 4, 4), num_classes=5), "student"),
        (partial(FourStageResNet, Bottleneck, (1, 1, 1, 1)), "student"),
        (partial(torchvision_model, "resnet18", stages=("layer1", "layer2")), "student"),
        (partial(Synthetic, classes=6, shape=(3, 8, 8), noise=1), "data"),
        (partial(Noise, real=partial(Synthetic, samples=60), std=0.5), "data"),
    ],
)
def test_what_is_located_can_be_made_again(function: object, role: str) -> None:
    again = restore(stored(function), role)
    assert again.left_out == ()
    assert stored(again.make) == stored(function)
    assert describe(again.make) == describe(function)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("os:system", "not of raykd"),
        ("raykdx.models:resnet8", "not of raykd"),
        ("raykd.models.resnet:nn.Linear", "no student that a store may name"),
        ("raykd.models.resnet:CifarResNet.forward", "no student that a store may name"),
        ("raykd.models.resnet:BasicBlock", "no student that a store may name"),
        ("raykd.models.vgg:he_normal_", "no student that a store may name"),
        ("raykd.models.wrap:wrap", "no student that a store may name"),
        ("raykd.models.weights:load_weights", "no student that a store may name"),
        ("raykd.models.find:find", "no student that a store may name"),
        ("raykd.data.synthetic:Synthetic", "no student that a store may name"),
        ("raykd.data.cifar:write_cifar", "no student that a store may name"),
        ("raykd.study.provenance:_run", "no student that a store may name"),
        ("raykd.models..resnet:resnet8", "no student that a store may name"),
        ("raykd.models.resnet:__builtins__", "no student that a store may name"),
        ("raykd.models.resnet:resnet9", "can't find"),
        ("raykd.models.nothing:nowhere", "can't find"),
    ],
)
def test_only_what_is_declared_may_be_named(place: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*give --student module:function"):
        restore(named(place), "student")


@pytest.mark.parametrize("located", [None, [], {}, {"function": 1, "arguments": {}}, named("a:b")])
def test_what_says_nothing_is_refused(located: object) -> None:
    with pytest.raises(ValueError, match="give --data module:function"):
        restore(located, "data")
    with pytest.raises(ValueError, match="does not say what made the data"):
        restore(named("raykd.data.digits:Digits", **{"a=1) or f(": 1}), "data")


@pytest.mark.parametrize(
    "arguments",
    [
        {"blocks": "1"},
        {"blocks": True},
        {"blocks": 10**9},
        {"blocks": 1.0},
        {"blocks": 1, "widths": 4},
        {"blocks": 1, "widths": ["4", "4", "4", "4"]},
        {"blocks": 1, "widths": [4] * 2000},
        {"blocks": 1, "widths": [[4, 4], 4, 4, 4]},
        {"blocks": 1, "num_classes": None},
    ],
)
def test_values_must_be_of_the_annotated_type(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"in the store, which raykd.models.resnet:CifarResNet ca"):
        restore(named("raykd.models.resnet:CifarResNet", **arguments), "student")


def test_texts_must_be_printable_lines() -> None:
    place = "raykd.models.imagenet:torchvision_model"
    with pytest.raises(ValueError, match="can't have"):
        restore(named(place, name="resnet18\x1b[2J"), "student")
    with pytest.raises(ValueError, match="can't have"):
        restore(named("raykd.data.synthetic:Synthetic", noise=float("nan")), "data")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (named("os:system"), "not of raykd"),
        (named("raykd.study.study:Study"), "may name"),
        (named("raykd.models.resnet:BasicBlock"), "may name"),
        (named("raykd.models.resnet:resnet8"), "can't have"),
        ("raykd.models.resnet_cifar:Bottleneck", "can't have"),
    ],
)
def test_factories_among_the_arguments_are_held_to_the_same(argument: object, said: str) -> None:
    located = named("raykd.models.resnet_cifar:FourStageResNet", block=argument, blocks=[1] * 4)
    with pytest.raises(ValueError, match=said):
        restore(located, "student")


def test_paths_checks_and_pretrained_weights_are_left_out() -> None:
    again = restore(
        named("raykd.models.imagenet:resnet18", weights="IMAGENET1K_V1", num_classes=3), "student"
    )
    assert again.make.keywords == {"num_classes": 3}
    assert again.left_out == ("weights",)
    cifar = {"root": "/", "verify": False, "download": True, "normalise": "imagenet"}
    again = restore(named("raykd.data.cifar:CIFAR10", **cifar), "data")
    assert again.make.keywords == {"normalise": "imagenet"}
    assert set(again.left_out) == {"root", "verify", "download"}
    images = {"root": "/", "on_damaged": "skip", "decoders": 10**6, "size": 32, "device": "cuda"}
    again = restore(named("raykd.data.imagenet:Images", **images), "data")
    assert again.make.keywords == {"size": 32}


def test_what_the_user_gives_reaches_the_factory_that_has_it() -> None:
    again = restore(stored(partial(CIFAR10, root="/theirs")), "data", given={"root": "/mine"})
    assert (again.make.keywords, again.taken) == ({"root": "/mine"}, ("root",))
    noise = stored(partial(Noise, real=partial(CIFAR10, root="/theirs")))
    again = restore(noise, "data", given={"root": "/mine"})
    assert again.make.keywords["real"].keywords == {"root": "/mine"}
    assert again.taken == ("root",)
    assert restore(stored(Synthetic), "data", given={"root": "/mine"}).taken == ()


def test_what_is_named_instead_gets_the_numbers_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    located = stored(partial(made, 3, depth=2, name="/etc/passwd", exact=False))
    located["arguments"]["other"] = 1
    again = restore(located, "student", f"{CifarResNet.__module__}:CifarResNet")
    assert again.make.keywords == {}
    again = restore(named("x:y", num_classes=3, x=1), "student", "raykd.models.resnet:resnet8")
    assert again.make.keywords == {"num_classes": 3}
    monkeypatch.setitem(sys.modules, "mine", sys.modules[made.__module__])
    again = restore(located, "student", "mine:made")
    assert again.make.keywords == {"width": 3, "depth": 2}


def test_a_lost_argument_is_named() -> None:
    with pytest.raises(ValueError, match=r"made with norm=torch.float32, which can't be kept"):
        restore(stored(partial(resnet8, norm=torch.float32)), "student")


@pytest.mark.parametrize(
    "factory",
    [
        partial(CifarResNet, 1, (16, 16, 32, 10**5)),
        partial(CifarResNet, 10**8, (1, 1, 1, 1)),
        partial(resnet8, num_classes=10**7),
        partial(VGG, (10**8, 1, 1, 1, 1)),
    ],
)
def test_a_network_is_not_made_much_larger_than_its_checkpoint(factory: object) -> None:
    checkpoint = resnet8().state_dict()
    with no_larger_than(checkpoint.values()):
        resnet8()
    with (
        pytest.raises((ValueError, RuntimeError), match=r"larger than its checkpoint|memory"),
        no_larger_than(checkpoint.values()),
    ):
        factory()


def test_a_factory_whose_file_has_moved_is_found() -> None:
    found = restore(named("raykd.models.elsewhere:resnet8", num_classes=3), "student")
    assert found.make(in_channels=1)(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 3)

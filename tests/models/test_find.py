from collections import Counter

import pytest
import torch

from raykd.models import find, imagenet, resnet
from raykd.models.find import factories


def test_finds_what_a_file_defines():
    assert find("resnet8x4") is resnet.resnet8x4
    assert find("resnet50") is imagenet.resnet50
    assert find("resnet50_cifar").__module__ == "raykd.models.resnet_cifar"


def test_every_factory_takes_classes_and_nothing_that_is_required():
    known = factories()
    assert len(known) > 25
    assert {"wrn_40_2", "vgg8", "mobilenetv2_half", "resnet18_1w1a"} <= set(known)
    assert not {"torchvision_model", "load_weights", "wrap", "find"} & set(known)


def test_no_name_is_defined_twice():
    import inspect
    import pkgutil
    from importlib import import_module

    import raykd.models

    defined = Counter(
        name
        for module in pkgutil.iter_modules(raykd.models.__path__)
        for name, function in inspect.getmembers(
            import_module(f"raykd.models.{module.name}"), inspect.isfunction
        )
        if function.__module__ == f"raykd.models.{module.name}" and not name.startswith("_")
    )
    assert not [name for name in factories() if defined[name] > 1]


def test_other_models_of_torchvision_go_by_their_names():
    model = find("shufflenet_v2_x0_5")(num_classes=4, in_channels=1).eval()
    assert model(torch.randn(1, 1, 64, 64)).logits.shape == (1, 4)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"unknown model 'resnet9'; known: .*resnet8x4"):
        find("resnet9")

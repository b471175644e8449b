import pytest

from raykd.models import resnet_cifar

BASIC = [(64, 32), (128, 16), (256, 8), (512, 4)]
BOTTLENECK = [(256, 32), (512, 16), (1024, 8), (2048, 4)]


def test_resnet50_of_the_crd_benchmark(on_paper):
    on_paper(resnet_cifar.resnet50_cifar, 23_705_252, 1298.0, 2048, BOTTLENECK)


def test_resnet18_that_teaches_the_binary_one(on_paper):
    on_paper(resnet_cifar.resnet18_cifar, 11_173_962, 555.4, 512, BASIC, num_classes=10)


@pytest.mark.parametrize("name", ["resnet18_cifar", "resnet34_cifar", "resnet50_cifar"])
def test_contract(name, at_work):
    at_work(getattr(resnet_cifar, name))


def test_names_are_those_of_the_crd_benchmark():
    state = resnet_cifar.resnet50_cifar().state_dict()
    assert state["layer1.0.shortcut.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.bn3.running_mean"].shape == (2048,)
    assert state["linear.weight"].shape == (100, 2048)

import pytest
import torch
from torchvision import models

from raykd.models import imagenet
from raykd.models.imagenet import torchvision_model


def _both(name: str, num_classes: int = 10):
    torch.manual_seed(0)
    ours = torchvision_model(name, num_classes).eval()
    torch.manual_seed(0)
    return ours, models.get_model(name, num_classes=num_classes).eval()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "alexnet"])
def test_logits_are_torchvisions(name):
    ours, theirs = _both(name)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        output = ours(x)
        assert torch.equal(output.logits, theirs(x))
        assert torch.equal(ours.head(output.pooled), output.logits)
    assert set(ours.state_dict()) == set(theirs.state_dict())


def test_stages_of_a_resnet():
    model = imagenet.resnet18(num_classes=10).eval()
    with torch.no_grad():
        output = model(torch.randn(2, 3, 64, 64))
    assert [tuple(s.shape[1:]) for s in output.stages] == [
        (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2),
    ]  # fmt: skip
    for stage, preact in zip(output.stages, output.preacts, strict=True):
        assert preact.min() < 0
        assert torch.equal(preact.relu(), stage)
    torch.testing.assert_close(output.pooled, output.stages[-1].mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("name", "params"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)],
)
def test_parameters(name, params):
    model = getattr(imagenet, name)()
    assert sum(p.numel() for p in model.parameters()) == params


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnext50_32x4d", "wide_resnet50_2", "regnet_y_400mf", "convnext_tiny", "densenet121",
        "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v3_large", "mobilenet_v3_small",
        "mnasnet0_5", "swin_t", "vit_b_32", "googlenet",
    ],
)  # fmt: skip
def test_families(name):
    ours, theirs = _both(name)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        output = ours(x)
        assert torch.equal(output.logits, theirs(x))
        assert torch.equal(ours.head(output.pooled), output.logits)
    sizes = [s.shape[-1] for s in output.stages]
    assert sizes == ([] if name in ("swin_t", "vit_b_32", "googlenet") else [56, 28, 14, 7])


def test_gradients_flow_and_grey_images_fit(at_work):
    at_work(imagenet.resnet18, size=64)


def test_stages_by_choice():
    model = torchvision_model("mobilenet_v2", 10, stages=("features.18",)).eval()
    assert model(torch.randn(1, 3, 32, 32)).stages[0].shape == (1, 1280, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, "no model 'resnet19'; it has .*resnet18"),
        ({"name": "resnet34", "weights": "IMAGENET1K_V9"}, "no weights.*it has IMAGENET1K_V1"),
        (
            {"name": "resnet34", "weights": "IMAGENET1K_V1", "num_classes": 10},
            "for 1000 classes and 3 channels, not for 10 and 3",
        ),
        ({"name": "resnet18", "weights": "IMAGENET1K_V1", "in_channels": 1}, "not for 1000 and 1"),
        ({"name": "squeezenet1_1"}, "no linear classifier"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        torchvision_model(**arguments)

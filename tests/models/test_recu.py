import math

import pytest
import torch
import torch.nn.functional as F

from raykd.models import recu
from raykd.models.recu import BinaryConv2d, resnet18_1w1a, resnet20_1w1a


def _binary(model):
    return [module for module in model.modules() if isinstance(module, BinaryConv2d)]


def test_resnet18_of_the_paper():
    model = resnet18_1w1a()
    assert sum(p.numel() for p in model.parameters()) == 11_005_002
    assert len(_binary(model)) == 16
    assert sum(conv.weight.numel() for conv in _binary(model)) == 10_985_472
    output = model.eval()(torch.randn(1, 3, 32, 32))
    shapes = [tuple(s.shape[1:]) for s in output.stages]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert output.pooled.shape == (1, 512)


def test_resnet20():
    model = resnet20_1w1a()
    assert sum(p.numel() for p in model.parameters()) == 270_522
    assert len(_binary(model)) == 18


@pytest.mark.parametrize("factory", [resnet18_1w1a, resnet20_1w1a])
def test_contract(factory, at_work):
    at_work(factory, active=F.hardtanh)


@pytest.mark.parametrize("feature", ["after_bn", "before_bn"])
def test_feature_before_or_after_the_batch_norm(feature):
    torch.manual_seed(0)
    model = resnet20_1w1a(feature=feature).eval()
    model.bn2.running_mean.fill_(0.5)
    output = model(torch.randn(3, 3, 16, 16))
    raw = output.stages[-1].mean(dim=(2, 3))
    torch.testing.assert_close(output.pooled, raw if feature == "before_bn" else model.bn2(raw))
    torch.testing.assert_close(model.head(output.pooled), output.logits)
    assert list(model.state_dict()) == list(resnet20_1w1a().state_dict())


def test_unknown_feature():
    with pytest.raises(ValueError, match="'after_bn' or 'before_bn'"):
        resnet20_1w1a(feature="logits")


def test_weights_are_two_values_for_each_filter():
    torch.manual_seed(0)
    conv = BinaryConv2d(3, 8, 1)
    ones = torch.ones(1, 3, 3, 3)
    signs = conv.binary_weight()
    assert set(signs.unique().tolist()) == {-1, 1}
    centred = conv.weight - conv.weight.mean(dim=(1, 2, 3), keepdim=True)
    assert torch.equal(signs, torch.where(centred >= 0, 1.0, -1.0))
    out = conv.eval()(ones)[0, :, 1, 1]
    torch.testing.assert_close(out, signs.sum(dim=(1, 2, 3)) * conv.alpha.flatten())


def test_activations_are_signs():
    torch.manual_seed(0)
    conv = BinaryConv2d(2, 4, 1)
    x = torch.randn(2, 2, 6, 6)
    torch.testing.assert_close(conv(x), conv(torch.where(x >= 0, 1.0, -1.0)))


def test_gradient_of_weights_is_straight_through_where_the_clamp_leaves_them():
    torch.manual_seed(0)
    w = recu.standardise(torch.randn(4, 3, 3, 3)).requires_grad_()
    tau = torch.tensor(0.85)
    slope = torch.randn(4, 3, 3, 3)
    (recu.SignOfWeight.apply(recu.rectified_clamp(w, tau)) * slope).sum().backward()
    q = -w.detach().abs().mean() * math.log(2 - 2 * 0.85)
    free = w.detach().abs() < q
    assert free.any()
    assert not free.all()
    assert torch.equal(w.grad, torch.where(free, slope, 0.0))


def test_gradient_of_activations():
    x = torch.tensor([-2.0, -0.75, 0.0, 0.5, 1.5], requires_grad=True)
    recu.SignOfActivation.apply(x).sum().backward()
    assert x.grad.tolist() == [0, 0.5, 2, 1, 0]


def test_standardised_filters():
    torch.manual_seed(0)
    w = recu.standardise(torch.randn(5, 4, 3, 3) * 3 + 1)
    torch.testing.assert_close(w.mean(dim=(1, 2, 3)), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(w.std(dim=(1, 2, 3)), torch.full((5,), 2 * math.sqrt(2)))


def test_clamp_is_at_the_quantiles_of_a_laplace_distribution():
    b, tau = 2.0, torch.tensor(0.9)
    w = torch.distributions.Laplace(0.0, b).icdf(torch.linspace(0.0005, 0.9995, 1000))
    clamped = recu.rectified_clamp(w.view(10, 100, 1, 1), tau)
    assert clamped.max() == pytest.approx(-b * math.log(2 - 2 * 0.9), rel=0.01)
    assert clamped.min() == -clamped.max()
    assert (clamped == clamped.max()).float().mean() == pytest.approx(0.1, abs=0.01)


def test_a_dead_filter_and_a_constant_image_give_finite_gradients():
    conv = BinaryConv2d(2, 2, 1)
    with torch.no_grad():
        conv.weight[0] = 0.3
    conv(torch.full((1, 2, 4, 4), 0.5)).square().sum().backward()
    assert conv.weight.grad.isfinite().all()


def test_tau_goes_from_085_to_099():
    model = resnet20_1w1a()
    taus = []
    for progress in (0.0, 0.5, 1.0):
        model.schedule(progress)
        values = {conv.tau.item() for conv in _binary(model)}
        assert len(values) == 1
        taus += values
    half = 0.85 + 0.14 * (math.exp(0.5) - 1) / (math.e - 1)
    assert taus == pytest.approx([0.85, half, 0.99], abs=1e-6)


def test_tau_changes_the_gradient_and_not_the_output():
    torch.manual_seed(0)
    conv, x = BinaryConv2d(3, 4, 1), torch.randn(2, 3, 8, 8)
    outputs, moved = [], []
    for tau in (0.85, 0.99):
        conv.tau.fill_(tau)
        conv.zero_grad()
        outputs.append(conv(x))
        outputs[-1].square().sum().backward()
        moved.append(conv.weight.grad.clone())
    assert torch.equal(*outputs)
    assert not torch.allclose(*moved)


def test_stem_and_classifier_keep_full_precision():
    model = resnet18_1w1a()
    assert type(model.conv1) is torch.nn.Conv2d
    assert type(model.linear) is torch.nn.Linear

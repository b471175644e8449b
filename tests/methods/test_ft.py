from copy import deepcopy
from math import pi, sqrt

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.ft import FT, Paraphraser, factor_loss, spatial_factor, whole_factor


def slow_spatial(f):
    channels = len(f)
    q = (sum(f[c] ** 2 for c in range(channels)) / channels).flatten()
    return q / (q @ q).sqrt()


def slow_whole(f):
    q = f.flatten()
    return q / (q @ q).sqrt()


@pytest.mark.parametrize(
    ("factor", "slow"), [(spatial_factor, slow_spatial), (whole_factor, slow_whole)]
)
def test_slow_formula(draw, factor, slow):
    f_s, f_t = draw(3, 4, 2, 2), draw(3, 4, 2, 2, seed=1)
    rows = [(slow(a) - slow(b)).abs().mean() for a, b in zip(f_s, f_t, strict=True)]
    expected = sum(rows).item() / 3
    assert factor_loss(factor(f_s), factor(f_t)).item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("factor", [spatial_factor, whole_factor])
def test_identity_and_invariance(draw, factor):
    f = draw(3, 4, 2, 2)
    assert factor_loss(factor(f), factor(f)) == 0
    assert factor_loss(factor(4 * f), factor(f)).item() == pytest.approx(0, abs=1e-15)


def test_random_factors_differ_by_what_the_dimension_says():
    """2 / √(πD): 0.0249 at D = 2048."""
    torch.manual_seed(0)
    f_s, f_t = torch.randn(2, 64, 32, 8, 8)
    loss = factor_loss(whole_factor(f_s), whole_factor(f_t)).item()
    assert loss == pytest.approx(2 / sqrt(pi * 2048), rel=0.05)


@pytest.mark.parametrize("factor", [spatial_factor, whole_factor])
def test_gradient(draw, factor):
    f_s, f_t = draw(2, 3, 2, 2).requires_grad_(), factor(draw(2, 3, 2, 2, seed=1))
    assert gradcheck(lambda f: factor_loss(factor(f), f_t), f_s)


@pytest.mark.parametrize("factor", [spatial_factor, whole_factor])
def test_an_empty_factor_gives_a_bounded_gradient(draw, factor):
    f = draw(2, 3, 2, 2)
    f[1] = 0
    f.requires_grad_()
    factor_loss(factor(f), factor(draw(2, 3, 2, 2, seed=1))).backward()
    assert f.grad.isfinite().all()
    assert f.grad.abs().max() < 10


@pytest.mark.parametrize(
    ("c_s", "c_t", "paraphraser", "translator"),
    [
        (128, 128, 516_672, 258_816),
        (64, 128, 516_672, 111_168),
        (64, 64, 129_312, 64_896),
        (256, 256, 2_065_536, 1_033_728),
        (160, 512, 8_259_840, 1_190_880),
        (464, 256, 2_065_536, 2_621_808),
    ],
)
def test_parameters_of_the_benchmarks_pairs(output, c_s, c_t, paraphraser, translator):
    s, t = (output(batch=1, widths=(c,), sizes=(1,)) for c in (c_s, c_t))
    method = FT(s, t)
    assert sum(p.numel() for p in method.parameters()) == translator
    assert sum(p.numel() for p in Paraphraser(*method.channels).parameters()) == paraphraser


def test_halves_of_the_paraphraser():
    paraphraser = Paraphraser(64, 32)
    assert sum(p.numel() for p in paraphraser.encoder.parameters()) == 64_640
    assert sum(p.numel() for p in paraphraser.decoder.parameters()) == 64_672
    assert paraphraser(torch.rand(2, 64, 4, 4)).shape == (2, 64, 4, 4)


@pytest.mark.parametrize(("k", "channels"), [(0.5, 4), (0.75, 7), (2.0, 18), (0.01, 1)])
def test_channels_of_the_factor(output, k, channels):
    assert FT(output(), output(widths=(4, 6, 9)), k=k).channels == (9, channels)


def prepared(tiny_net, data, artefact, **config):
    teacher = tiny_net(1, widths=(5, 6), sizes=(6, 4)).eval().requires_grad_(False)
    student = tiny_net(2, widths=(4, 8), sizes=(6, 3))
    with torch.no_grad():
        s, t = student(data.inputs[:8]), teacher(data.inputs[:8])
    method = FT(s, t, **{"paraphraser_epochs": 1, **config})
    method.prepare(teacher, data, artefact)
    return method, teacher, s, t


@pytest.mark.parametrize("factor", ["spatial", "whole"])
def test_the_larger_factor_is_pooled(tiny_net, data, artefact, factor):
    method, _, s, t = prepared(tiny_net, data, artefact, factor=factor, beta=3.0)
    got = method(s, t, data.batch(torch.arange(8)))["factor"]
    pool = torch.nn.functional.adaptive_avg_pool2d
    made = spatial_factor if factor == "spatial" else whole_factor
    f_t = made(pool(method.paraphraser(t.stages[-1]), 3))
    expected = factor_loss(made(method.translator(s.stages[-1])), f_t)
    assert got.item() == pytest.approx(3 * expected.item(), rel=1e-5)


def test_the_paraphraser_is_an_artefact_and_stays_frozen(tiny_net, data):
    asked = []

    def artefact(kind, config, make):
        asked.append((kind, config))
        return make()

    method, _, s, t = prepared(tiny_net, data, artefact, k=1.0, beta=7.0, factor="whole")
    assert asked == [("ft_paraphraser", {"k": 1.0, "epochs": 1, "lr": 0.01})]
    frozen = deepcopy(method.paraphraser.module.state_dict())
    own = {id(p) for p in method.paraphraser.module.parameters()}
    assert not own & {id(p) for p in method.parameters()}
    assert all(name.startswith("translator.") for name in method.state_dict())
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    sum(method(s, t, data.batch(torch.arange(8))).values()).backward()
    optimizer.step()
    for name, tensor in method.paraphraser.module.state_dict().items():
        assert tensor.equal(frozen[name])
        assert tensor.grad is None
    again = prepared(tiny_net, data, artefact, k=1.0)[0]
    for name, tensor in again.paraphraser.module.state_dict().items():
        assert tensor.equal(frozen[name])


def test_the_paraphraser_learns_to_reconstruct(tiny_net, data, artefact, monkeypatch):
    """Better than the mean of each channel, which knows nothing of sample and position."""
    teacher = tiny_net(1, widths=(5, 6), sizes=(6, 4)).eval().requires_grad_(False)
    for norm in teacher.norms:
        norm.weight *= 4
    t = teacher(data.inputs)
    made = []

    def make(*channels):
        made.append(Paraphraser(*channels))
        return made[-1]

    monkeypatch.setattr("raykd.methods.ft.Paraphraser", make)
    FT(t, t, k=2.0, paraphraser_epochs=20, paraphraser_lr=0.05).prepare(teacher, data, artefact)
    f = t.stages[-1]
    error = torch.nn.functional.mse_loss(made[0](f), f)
    assert error < 0.95 * f.var((0, 2, 3), correction=0).mean()


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match="factor is 'other'; it must be one of spatial, whole"):
        FT(output(), output(), factor="other")
    with pytest.raises(ValueError, match="k is 0"):
        FT(output(), output(), k=0.0)
    with pytest.raises(ValueError, match="paraphraser_epochs is 0"):
        FT(output(), output(), paraphraser_epochs=0)
    flat = output().map(lambda tensor: tensor.flatten(1))
    with pytest.raises(ValueError, match=r"stages\[2\] of the student has the shape \(4, 32\)"):
        FT(flat, output())


def test_golden_trace(trace):
    assert trace(FT, paraphraser_epochs=2) == {
        "ce": pytest.approx([1.58149696, 1.64736262, 1.65628478], rel=1e-5),
        "factor": pytest.approx([56.4882473, 57.6322535, 52.1607451], rel=1e-5),
    }

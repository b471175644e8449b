from math import log

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.vid import VID, VariationalGaussian, negative_log_likelihood


def test_slow_formula(draw):
    mu, t = draw(2, 3, 2, 2), draw(2, 3, 2, 2, seed=1)
    variance = draw(3, seed=2).abs() + 0.1
    total = 0.0
    for i in range(2):
        for c in range(3):
            for a, b in zip(mu[i, c].flatten().tolist(), t[i, c].flatten().tolist(), strict=True):
                total += 0.5 * ((b - a) ** 2 / float(variance[c]) + log(float(variance[c])))
    assert negative_log_likelihood(mu, variance, t).item() == pytest.approx(total / 24, abs=1e-14)


def test_the_best_variance_is_the_mean_squared_error(draw):
    mu, t = draw(4, 2, 3, 3), draw(4, 2, 3, 3, seed=1)
    best = (mu - t).square().mean((0, 2, 3))
    floor = negative_log_likelihood(mu, best, t)
    assert floor.item() == pytest.approx(0.5 * (1 + best.log().mean().item()), abs=1e-12)
    for factor in (0.9, 1.1):
        assert negative_log_likelihood(mu, factor * best, t) > floor


def test_gradient(draw):
    mu, t = draw(2, 2, 2, 2).requires_grad_(), draw(2, 2, 2, 2, seed=1)
    variance = (draw(2, seed=2).abs() + 0.1).requires_grad_()
    assert gradcheck(lambda m, v: negative_log_likelihood(m, v, t), (mu, variance))


def test_the_variance_starts_at_five(draw):
    module = VariationalGaussian(3, 4).double()
    f_s, f_t = draw(2, 3, 4, 4), draw(2, 4, 2, 2, seed=1)
    pooled = torch.nn.functional.adaptive_avg_pool2d(f_s, 2)
    five = torch.full((4,), 5.0, dtype=torch.float64)
    expected = negative_log_likelihood(module.mean(pooled), five, f_t)
    assert module(f_s, f_t).item() == pytest.approx(expected.item(), rel=1e-6)
    assert sum(p.numel() for p in module.parameters()) == 3 * 4 + 2 * 4 * 4 + 4


def test_stages_are_summed(output, batch_of):
    s, t = output(), output(seed=1, widths=(5, 7, 9), sizes=(8, 8, 4), grad=False)
    method = VID(s, t, beta=2.0).double()
    pairs = zip(method.stages, s.stages, t.stages, strict=True)
    expected = sum(module(f_s, f_t) for module, f_s, f_t in pairs)
    assert method(s, t, batch_of())["vid"].item() == pytest.approx(2 * expected.item())


def test_golden_trace(trace):
    assert trace(VID) == {
        "ce": pytest.approx([1.58149696, 1.69303684, 1.58667433], rel=1e-5),
        "vid": pytest.approx([2.41606842, 2.41604653, 2.41601661], rel=1e-5),
    }

from math import log

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.pkt import PKT, affinities, divergence


def slow_affinities(z):
    rows = [(row / (row.norm() + 1e-7)).tolist() for row in z]
    kernel = [[(sum(a * b for a, b in zip(p, q, strict=True)) + 1) / 2 for q in rows] for p in rows]
    return [[k / sum(row) for k in row] for row in kernel]


def test_slow_formula(draw):
    z_s, z_t = draw(4, 3), draw(4, 5, seed=1)
    p_s, p_t = slow_affinities(z_s), slow_affinities(z_t)
    terms = [
        p_t[i][j] * log((p_t[i][j] + 1e-7) / (p_s[i][j] + 1e-7)) for i in range(4) for j in range(4)
    ]
    loss = divergence(affinities(z_s), affinities(z_t))
    assert loss.item() == pytest.approx(sum(terms) / 16, abs=1e-14)


def test_identity_and_invariances(draw):
    z, other = draw(5, 4), draw(5, 4, seed=1)
    p = affinities(z)
    assert divergence(p, p) == 0
    assert divergence(affinities(other), p) > 0
    assert torch.allclose(p.sum(1), torch.ones(5, dtype=p.dtype))
    lengths = 1 + draw(5, 1, seed=2).abs()
    assert torch.allclose(affinities(lengths * z), p, atol=1e-6)


def test_gradient(draw):
    p_t, z = affinities(draw(4, 5, seed=1)), draw(4, 3).requires_grad_()
    assert gradcheck(lambda x: divergence(affinities(x), p_t), z)


def test_an_empty_row_gives_a_bounded_gradient(draw):
    z = draw(4, 3).float()
    z[1] = 0
    z.requires_grad_()
    loss = divergence(affinities(z), affinities(draw(4, 5, seed=1).float()))
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    assert z.grad.abs().max() < 10


def test_the_guard_leaves_ordinary_values_as_they_are(draw):
    z = draw(6, 5).float()
    bare = z / (z.square().sum(1, keepdim=True).sqrt() + 1e-7)
    kernel = (bare @ bare.T + 1) / 2
    assert affinities(z).equal(kernel / kernel.sum(1, keepdim=True))


def test_golden_trace(trace):
    assert trace(PKT) == {
        "ce": pytest.approx([1.58149696, 1.65186845, 1.61983925], rel=1e-5),
        "divergence": pytest.approx([5.20084114, 2.63662038, 0.761232344], rel=1e-5),
    }

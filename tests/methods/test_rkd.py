from math import dist

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.rkd import RKD, angles, distances, relation_loss


def slow_distances(z):
    rows = z.tolist()
    psi = [[dist(a, b) for b in rows] for a in rows]
    mean = sum(map(sum, psi)) / (len(rows) * (len(rows) - 1))
    return torch.tensor(psi, dtype=torch.float64) / mean


def slow_angles(z):
    n = len(z)
    psi = torch.zeros(n, n, n, dtype=z.dtype)
    for a in range(n):
        for b in range(n):
            for c in range(n):
                if a not in (b, c):
                    e_b, e_c = z[b] - z[a], z[c] - z[a]
                    psi[a, b, c] = e_b @ e_c / (e_b.norm() * e_c.norm())
    return psi


def slow_huber(a, b):
    differences = (a - b).abs().flatten().tolist()
    return sum(0.5 * d * d if d <= 1 else d - 0.5 for d in differences) / len(differences)


def test_slow_formula(draw):
    z_s, z_t = draw(5, 4), draw(5, 6, seed=1)
    for fast, slow in ((distances, slow_distances), (angles, slow_angles)):
        assert torch.allclose(fast(z_s), slow(z_s), atol=1e-12)
        loss = relation_loss(fast(z_s), fast(z_t))
        assert loss.item() == pytest.approx(slow_huber(slow(z_s), slow(z_t)), abs=1e-12)


def test_invariances(draw):
    z = draw(5, 4)
    moved = 3 * z @ torch.linalg.qr(draw(4, 4, seed=1)).Q + draw(4, seed=2)
    assert torch.allclose(distances(moved), distances(z))
    assert torch.allclose(angles(moved), angles(z), atol=1e-12)


def test_two_samples_have_no_relation(output, batch_of):
    s, t = output(batch=2), output(batch=2, seed=1, grad=False)
    losses = RKD(s, t)(s, t, batch_of(2))
    assert losses["distance"].item() == pytest.approx(0, abs=1e-12)
    assert losses["angle"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("potential", [distances, angles])
def test_gradient(draw, potential):
    z_s, psi_t = draw(4, 3).requires_grad_(), potential(draw(4, 3, seed=1))
    assert gradcheck(lambda z: relation_loss(potential(z), psi_t), z_s)


@pytest.mark.parametrize("potential", [distances, angles])
@pytest.mark.parametrize("same", [2, 6])
def test_equal_rows_give_a_bounded_gradient(draw, potential, same):
    z = draw(6, 4).float()
    z[:same] = z[0]
    z.requires_grad_()
    relation_loss(potential(z), potential(draw(6, 4, seed=1).float())).backward()
    assert z.grad.isfinite().all()
    assert z.grad.abs().max() < 10


def test_angles_hold_in_float32_far_from_the_origin(draw):
    z = draw(16, 8) + 10
    assert torch.allclose(angles(z.float()).double(), angles(z), atol=1e-4)


def test_golden_trace(trace):
    assert trace(RKD) == {
        "ce": pytest.approx([1.58149696, 1.68301116, 1.62267395], rel=1e-5),
        "distance": pytest.approx([3.10676419, 3.22728355, 5.6287769], rel=1e-5),
        "angle": pytest.approx([6.10979806, 6.33194163, 10.283925], rel=1e-5),
    }

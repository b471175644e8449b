import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.nst import NST, mmd_loss, polynomial_kernel, selectivity


def naive_kernel(f_a, f_b):
    """Every pair of maps at once: what the Gram form replaces."""
    return (f_a[:, :, None] * f_b[:, None]).sum(-1).square().mean()


def naive_mmd(f_s, f_t):
    return naive_kernel(f_t, f_t) + naive_kernel(f_s, f_s) - 2 * naive_kernel(f_s, f_t)


def mmd(f_s, f_t):
    return mmd_loss(f_s, f_t, polynomial_kernel(f_t, f_t))


@pytest.mark.parametrize(("c_s", "c_t", "size"), [(2, 3, 4), (9, 7, 2), (2, 9, 2), (20, 1, 3)])
def test_naive_formula(draw, c_s, c_t, size):
    """Few channels on large maps and many on small ones: both forms of the sum."""
    f_s = selectivity(draw(3, c_s, size, size)).requires_grad_()
    f_t = selectivity(draw(3, c_t, size, size, seed=1))
    got, expected = mmd(f_s, f_t), naive_mmd(f_s, f_t)
    assert got.item() == pytest.approx(expected.item(), abs=1e-14)
    gradients = (torch.autograd.grad(loss, f_s)[0] for loss in (got, expected))
    assert torch.allclose(*gradients, atol=1e-14)


def test_slow_formula(draw):
    f = draw(2, 3, 2, 2)
    rows = selectivity(f)
    for i in range(2):
        for c in range(3):
            flat = f[i, c].flatten()
            assert torch.allclose(rows[i, c], flat / (flat @ flat).sqrt())


def test_identity_and_invariances(draw):
    f_s, f_t = draw(2, 4, 3, 3), draw(2, 5, 3, 3, seed=1)
    rows_s, rows_t = selectivity(f_s), selectivity(f_t)
    assert mmd(rows_t, rows_t).item() == pytest.approx(0, abs=1e-15)
    assert mmd(rows_s, rows_t) > 0
    scaled = selectivity(f_s * (1 + draw(2, 4, 1, 1, seed=2).abs()))[:, [2, 0, 3, 1]]
    assert mmd(scaled, rows_t).item() == pytest.approx(mmd(rows_s, rows_t).item(), abs=1e-14)


def test_gradient(draw):
    f_s, f_t = draw(2, 3, 2, 2).requires_grad_(), selectivity(draw(2, 4, 2, 2, seed=1))
    assert gradcheck(lambda f: mmd(selectivity(f), f_t), f_s)


def test_a_dead_channel_gives_a_bounded_gradient(draw):
    f = draw(2, 3, 4, 4)
    f[:, 1] = 0
    f.requires_grad_()
    mmd(selectivity(f), selectivity(draw(2, 3, 4, 4, seed=1))).backward()
    assert f.grad.abs().max() < 10


def test_stages_are_summed_at_the_smaller_size(output, batch_of):
    s, t = output(sizes=(8, 4, 2)), output(seed=1, sizes=(4, 4, 3), grad=False)
    pool = torch.nn.functional.adaptive_avg_pool2d
    expected = sum(
        naive_mmd(selectivity(pool(f_s, n)), selectivity(pool(f_t, n)))
        for f_s, f_t, n in zip(s.stages, t.stages, (4, 4, 2), strict=True)
    )
    loss = NST(s, t, beta=3.0)(s, t, batch_of())["mmd"]
    assert loss.item() == pytest.approx(3 * expected.item(), rel=1e-12)


def test_golden_trace(trace):
    assert trace(NST) == {
        "ce": pytest.approx([1.58149696, 1.62186663, 1.60743563], rel=1e-5),
        "mmd": pytest.approx([52.156331, 35.0268723, 28.5584], rel=1e-5),
    }

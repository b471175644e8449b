from math import log2

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.itrd import (
    ITRD,
    correlation_loss,
    correlation_loss_closed,
    mutual_information_loss,
    mutual_information_loss_closed,
    teacher_side,
)

S = torch.tensor([[1.0, 2], [3, 1], [0, 4], [2, 5]], dtype=torch.float64)
T = torch.tensor([[2.0, 1], [4, 0], [1, 3], [3, 3]], dtype=torch.float64)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1


def values_and_gradients(loss, z_s):
    z_s = z_s.clone().requires_grad_()
    value = loss(z_s)
    value.backward()
    return value.detach(), z_s.grad


def slow_correlation(z_s, z_t, alpha):
    n, d = z_s.shape
    total = 0.0
    for i in range(d):
        a, b = z_s[:, i], z_t[:, i]
        a = (a - a.mean()) / (((a - a.mean()) ** 2).sum() / (n - 1)) ** 0.5
        b = (b - b.mean()) / (((b - b.mean()) ** 2).sum() / (n - 1)) ** 0.5
        total += abs(float((a * b).sum()) / n - 1) ** (2 * alpha)
    return log2(total)


def slow_mutual_information(z_s, z_t):
    n = len(z_s)
    g_s = [[float(a @ b / (a.norm() * b.norm())) for b in z_s] for a in z_s]
    g_t = [[float(a @ b / (a.norm() * b.norm())) for b in z_t] for a in z_t]
    g_st = [[g_s[i][j] * g_t[i][j] for j in range(n)] for i in range(n)]
    trace_s, trace_st = (sum(g[i][i] for i in range(n)) for g in (g_s, g_st))
    return sum(
        (g_s[i][j] / trace_s) ** 2 - (g_st[i][j] / trace_st) ** 2
        for i in range(n)
        for j in range(n)
    )


def test_golden_values():
    assert correlation_loss(S, T, 1.01).item() == pytest.approx(-2.9252, abs=5e-5)
    assert correlation_loss(S, T, 1.5).item() == pytest.approx(-4.8265, abs=5e-5)
    assert mutual_information_loss(S, T).item() == pytest.approx(0.1338, abs=5e-5)
    assert mutual_information_loss(S, S).item() == pytest.approx(0.1086, abs=5e-5)
    assert torch.allclose((1 - torch.tensor([0.75, 0.7303])).square(), distances(S, T), atol=2e-5)


def distances(z_s, z_t):
    """|v − 1|² feature by feature, read off the loss of one feature at alpha 1."""
    pairs = zip(z_s.T[..., None], z_t.T[..., None], strict=True)
    return torch.stack([2 ** correlation_loss(a, b, 1.0) for a, b in pairs]).float()


@pytest.mark.parametrize("alpha", [1.01, 1.5])
def test_slow_formula(alpha):
    z_s, z_t = draw(6, 5), draw(6, 5, seed=1)
    expected = slow_correlation(z_s, z_t, alpha)
    assert correlation_loss(z_s, z_t, alpha).item() == pytest.approx(expected, abs=1e-12)
    z_s, z_t = draw(6, 3), draw(6, 5, seed=1)
    expected = slow_mutual_information(z_s, z_t)
    assert mutual_information_loss(z_s, z_t).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "d", "alpha", "floor"),
    [
        (64, 64, 1.01, -6.12),
        (64, 256, 1.01, -4.12),
        (64, 512, 1.5, -9.00),
        (64, 2048, 1.5, -7.00),
        (256, 512, 1.01, -7.16),
    ],
)
def test_correlation_floor(n, d, alpha, floor):
    z = draw(n, d)
    value = correlation_loss(z, 3 * z + 1, alpha).item()
    assert value == pytest.approx(log2(d) - 2 * alpha * log2(n), abs=1e-9)
    assert value == pytest.approx(floor, abs=5e-3)


def test_correlation_ceiling():
    z = draw(64, 64)
    value = correlation_loss(z, -z, 1.01).item()
    assert value == pytest.approx(log2(64) + 2.02 * log2(2 - 1 / 64), abs=1e-9)
    assert value == pytest.approx(7.997, abs=5e-4)


def test_correlation_is_invariant_to_scale_and_shift_of_a_feature():
    z_s, z_t = draw(8, 5), draw(8, 5, seed=1)
    moved = z_s * (1 + draw(5, seed=2).abs()) + draw(5, seed=3)
    expected = correlation_loss(z_s, z_t, 1.01)
    assert torch.allclose(correlation_loss(moved, z_t, 1.01), expected, atol=1e-12)


def test_mutual_information_bounds():
    n = 64
    basis, collapsed = torch.eye(n, dtype=torch.float64), torch.ones(n, n, dtype=torch.float64)
    anything = draw(n, n)
    assert mutual_information_loss(basis, anything).item() == pytest.approx(0, abs=1e-15)
    assert mutual_information_loss(anything, collapsed).item() == pytest.approx(0, abs=1e-15)
    highest = mutual_information_loss(collapsed, basis).item()
    assert highest == pytest.approx(0.984375, abs=1e-12)
    assert 0 < mutual_information_loss(anything, draw(n, n, seed=1)).item() < highest
    assert mutual_information_loss(anything, anything).item() > 0


@pytest.mark.parametrize("zero", [None, 0, 3])
def test_closed_forms_equal_the_literal_ones(zero):
    z_s, z_t = draw(16, 12), draw(16, 12, seed=1)
    if zero is not None:
        z_s[zero] = 0
        z_t[zero + 1] = 0
        z_s[:, 2] = z_s[0, 2]
        z_t[:, 5] = 1.5
    teacher = teacher_side(z_t)
    pairs = (
        (
            lambda z: correlation_loss(z, z_t, 1.01),
            lambda z: correlation_loss_closed(z, teacher, 1.01),
        ),
        (
            lambda z: mutual_information_loss(z, z_t),
            lambda z: mutual_information_loss_closed(z, teacher),
        ),
    )
    for literal, closed in pairs:
        expected, gradient = values_and_gradients(literal, z_s)
        got, got_gradient = values_and_gradients(closed, z_s)
        assert torch.allclose(got, expected, rtol=0, atol=1e-12)
        assert torch.allclose(got_gradient, gradient, rtol=0, atol=1e-12)


def test_gradients():
    z_s, z_t = draw(5, 4).requires_grad_(), draw(5, 4, seed=1)
    teacher = teacher_side(z_t)
    assert gradcheck(lambda z: correlation_loss(z, z_t, 1.5), z_s)
    assert gradcheck(lambda z: mutual_information_loss(z, z_t), z_s)
    assert gradcheck(lambda z: correlation_loss_closed(z, teacher, 1.5), z_s)
    assert gradcheck(lambda z: mutual_information_loss_closed(z, teacher), z_s)


def bare_correlation(z_s, z_t, alpha):
    """The official formula without any guard."""
    z_s = (z_s - z_s.mean(0)) / z_s.std(0)
    z_t = (z_t - z_t.mean(0)) / z_t.std(0)
    v = (z_s * z_t).sum(0) / len(z_s)
    return (v - 1).square().pow(alpha).sum().log2()


def bare_mutual_information(z_s, z_t):
    z_s, z_t = (torch.nn.functional.normalize(z) for z in (z_s, z_t))
    g_s = z_s @ z_s.T
    g_st = g_s * (z_t @ z_t.T)
    g_s, g_st = g_s / g_s.trace(), g_st / g_st.trace()
    return g_s.square().sum() - g_st.square().sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_guard_leaves_ordinary_values_as_they_are(dtype):
    z_s, z_t = draw(64, 32).to(dtype), draw(64, 32, seed=1).relu().to(dtype)
    for guarded, bare in (
        (lambda z: correlation_loss(z, z_t, 1.01), lambda z: bare_correlation(z, z_t, 1.01)),
        (
            lambda z: mutual_information_loss(z, z_t),
            lambda z: bare_mutual_information(z, z_t),
        ),
    ):
        assert guarded(z_s).equal(bare(z_s))
    got = values_and_gradients(lambda z: correlation_loss(z, z_t, 1.01), z_s)[1]
    expected = values_and_gradients(lambda z: bare_correlation(z, z_t, 1.01), z_s)[1]
    assert torch.allclose(got, expected, rtol=1e-4 if dtype == torch.float32 else 1e-12)


def hazards():
    z_s, z_t = draw(8, 6).float(), draw(8, 6, seed=1).float()
    constant = z_s.clone()
    constant[:, 2] = 0.1
    zero_row = z_s.clone()
    zero_row[3] = 0
    dead = z_t.clone()
    dead[:, 1] = 0
    return {
        "constant student feature": (constant, z_t),
        "constant teacher feature": (z_s, dead),
        "zero student row": (zero_row, z_t),
        "zero teacher row": (z_s, zero_row),
        "zero student": (torch.zeros(8, 6), z_t),
        "zero teacher": (z_s, torch.zeros(8, 6)),
        "same rows": (z_s[:1].expand(8, 6).clone(), z_t),
        "batch of one": (z_s[:1], z_t[:1]),
        "batch of one zero": (torch.zeros(1, 6), z_t[:1]),
        "student is the teacher": (z_s, z_s.clone()),
    }


@pytest.mark.parametrize("hazard", hazards())
def test_hazards_give_finite_values_and_bounded_gradients(hazard):
    z_s, z_t = hazards()[hazard]
    teacher = teacher_side(z_t)
    for loss in (
        lambda z: correlation_loss(z, z_t, 1.01),
        lambda z: mutual_information_loss(z, z_t),
        lambda z: correlation_loss_closed(z, teacher, 1.01),
        lambda z: mutual_information_loss_closed(z, teacher),
    ):
        value, gradient = values_and_gradients(loss, z_s)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e3


@pytest.mark.parametrize(
    ("d_s", "d_t", "parameters"),
    [
        (128, 128, 16_512),
        (64, 128, 8_320),
        (64, 64, 4_160),
        (256, 256, 65_792),
        (512, 512, 262_656),
        (1280, 512, 655_872),
        (1280, 2048, 2_623_488),
        (512, 2048, 1_050_624),
        (960, 256, 246_016),
        (1024, 256, 262_400),
        (960, 128, 123_008),
    ],
)
def test_parameters_of_the_papers_pairs(output, d_s, d_t, parameters):
    s, t = (output(batch=1, widths=(d,), sizes=(1,)) for d in (d_s, d_t))
    assert sum(p.numel() for p in ITRD(s, t).parameters()) == parameters


@pytest.mark.parametrize("width", [8, 6])
def test_the_embedding_serves_mi_only_where_widths_differ(output, batch_of, width):
    s, t = output(widths=(4, 6, 8)), output(seed=1, widths=(4, 6, width), grad=False)
    method = ITRD(s, t, beta_corr=3.0, beta_mi=0.5, alpha=1.5).double()
    losses = method(s, t, batch_of())
    embedded = method.embed(s.pooled)
    z_s = s.pooled if width == 8 else embedded
    corr, mi = correlation_loss(embedded, t.pooled, 1.5), mutual_information_loss(z_s, t.pooled)
    ce = torch.nn.functional.cross_entropy(s.logits, batch_of().target)
    assert torch.allclose(losses["corr"], 3 * corr, atol=1e-12)
    assert torch.allclose(losses["mi"], 0.5 * mi, atol=1e-12)
    assert losses["ce"].equal(ce)
    losses["mi"].backward()
    assert (method.embed.weight.grad is None) == (width == 8)


def test_the_teachers_side_is_computed_once(output, batch_of, monkeypatch):
    s, t = output(), output(seed=1, grad=False)
    methods = [ITRD(s, t, alpha=alpha).double() for alpha in (1.01, 1.5)]
    first = methods[0](s, t, batch_of())
    monkeypatch.setattr("raykd.methods.itrd.teacher_side", None)
    second = methods[1](s, t, batch_of())
    assert first["corr"] != second["corr"]


@pytest.mark.parametrize("alpha", [0.5, 0.0, -1.0])
def test_alpha_is_above_one_half(output, alpha):
    with pytest.raises(ValueError, match=r"alpha is .* above 0\.5"):
        ITRD(output(), output(), alpha=alpha)


def test_golden_trace(trace):
    assert trace(ITRD) == {
        "ce": pytest.approx([1.58149696, 1.69369907, 1.5994187], rel=1e-5),
        "corr": pytest.approx([7.23555854, 7.31664547, 7.43836525], rel=1e-5),
        "mi": pytest.approx([0.0121794218, 0.0105937155, 0.00888802346], rel=1e-5),
    }

import warnings
from functools import cache
from itertools import pairwise

import pytest
import torch

from raykd.modules.bregman_layer import BregmanLayer
from raykd.modules.bregman_pca import BregmanPCA, ConvergenceWarning
from raykd.modules.transfer import transfer

NAMES = ["identity", "leaky_relu", "sigmoid", "tanh", "elu", "softmax", "relu"]
N, D, PLANTED = 150, 8, 3


@cache
def outputs(name):
    """A low-rank structure in the pre-activations, and noise."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    theta = normal(N, PLANTED) @ normal(PLANTED, D) * 0.7 + 0.3 * normal(N, D) + 0.3
    return transfer(name, 0.1).f(theta)


@cache
def fitted(name, rank=2, mean="dual", tolerance=1e-6):
    pca = BregmanPCA(rank, name, mean, slope=0.1, tolerance=tolerance, iterations=3000)
    return pca.fit(outputs(name))


def test_the_identity_is_plain_pca():
    y, pca = outputs("identity"), fitted("identity", 3)
    assert torch.allclose(pca.mean_, y.mean(0), atol=1e-15)
    u, s, v = torch.linalg.svd(y - y.mean(0), full_matrices=False)
    projector = pca.components_.T @ pca.components_
    assert torch.allclose(projector, v[:3].T @ v[:3], atol=1e-10)
    assert pca.loss_ == pytest.approx((s[3:] ** 2).sum().item() / (2 * N), rel=1e-10)
    scores = u[:, :3] * s[:3]
    signs = (scores * pca.coefficients_).sum(0).sign()
    assert torch.allclose(pca.coefficients_, scores * signs, atol=1e-9)
    assert torch.allclose(pca.transform(y), pca.coefficients_, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mean", ["dual", "joint"])
def test_directions_are_orthonormal_in_the_geometry_at_the_mean(name, mean):
    pca = fitted(name, 3, mean)
    metric = pca.transfer.hessian(pca.mean_)
    gram = pca.components_ @ metric @ pca.components_.T
    assert (gram - torch.eye(3).double()).abs().max() < 1e-12
    if name == "softmax":
        assert pca.components_.sum(1).abs().max() < 1e-9
    exported = pca.export()
    gram = exported.components.T @ metric.float() @ exported.components
    assert (gram - torch.eye(3)).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_in_canonical_order(name):
    pca = fitted(name, 3)
    moments = pca.coefficients_.T @ pca.coefficients_
    diagonal = moments.diagonal()
    assert (moments - diagonal.diag()).abs().max() < 1e-8 * diagonal.max()
    assert diagonal.tolist() == sorted(diagonal.tolist(), reverse=True)
    assert (pca.components_.max(1).values >= -pca.components_.min(1).values).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relu"])
def test_the_dual_mean_is_the_best_of_rank_zero(name):
    pca, y = fitted(name), outputs(name)
    assert (pca.transfer.f(pca.mean_) - y).mean(0).abs().max() < 1e-14


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mean", ["dual", "joint"])
def test_no_step_raises_the_loss(name, mean):
    losses = fitted(name, 2, mean).losses_
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] == pytest.approx(fitted(name, 2, mean).loss_)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_with_the_rank_and_vanishes_at_full_rank(name):
    y = outputs(name)
    start, losses = None, []
    for rank in (1, 2, 4, D - (name == "softmax")):
        pca = BregmanPCA(rank, name, slope=0.1).fit(y, start)
        start = pca.layer_
        losses.append(pca.loss_)
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(losses))
    zero = pca.transfer.loss(pca.mean_.expand_as(y), y).mean()
    assert losses[0] < zero
    assert losses[-1] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["leaky_relu", "sigmoid", "softmax", "relu"])
def test_a_warm_start_is_never_worse_than_the_lower_rank(name):
    y = outputs(name)
    for mean in ("dual", "joint"):
        low = fitted(name, 2, mean)
        warm = BregmanPCA(3, name, mean, slope=0.1, iterations=1).fit(y, low.layer_)
        assert warm.loss_ <= low.loss_ * (1 + 1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relu"])
def test_a_converged_fit_is_stationary(name):
    pca, y = fitted(name, 2, tolerance=1e-14), outputs(name)
    residual = pca.inverse_transform(pca.coefficients_) - y
    assert (residual @ pca.components_.T).abs().max() < 1e-4
    assert (residual.T @ pca.coefficients_).abs().max() / N < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_joint_mean_is_never_worse(name):
    assert fitted(name, 2, "joint").loss_ <= fitted(name, 2).loss_ * (1 + 1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relu"])
def test_distances_between_small_coefficients_are_divergences(name):
    """l(m + V c; f(m + V c')) is about |c − c'|² / 2 near the mean: what `coef` relies on."""
    pca = fitted(name, 2)
    angle = torch.arange(8, dtype=torch.float64)
    a, b = 0.02 * torch.stack([angle.cos(), angle.sin()], 1), torch.zeros(8, 2).double()
    loss = pca.layer_.loss(a, pca.layer_(b))
    expected = (a - b).square().sum(1) / 2
    assert (loss / expected - 1).abs().max() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_layer_is_the_model(name):
    pca, y = fitted(name, 2), outputs(name)
    c = pca.transform(y)
    assert torch.equal(pca.layer_(c), pca.inverse_transform(c))
    assert torch.allclose(pca.export()(c.float()), pca.inverse_transform(c).float(), atol=1e-5)
    assert not list(pca.export().parameters())
    reconstruction = pca.layer_.loss(c, y).mean().item()
    assert reconstruction == pytest.approx(pca.loss_, rel=1e-4)
    assert reconstruction <= pca.loss_ + 1e-9


def test_any_basis_of_the_subspace_gives_the_same_reconstruction():
    pca, y = fitted("sigmoid", 2), outputs("sigmoid")
    g = torch.tensor([[2.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
    other = BregmanLayer(pca.mean_, pca.components_.T @ g, pca.transfer)
    assert torch.allclose(other(other.encode(y)), pca.layer_(pca.transform(y)), atol=1e-7)


def test_the_fit_needs_no_chance():
    torch.manual_seed(1)
    a = BregmanPCA(2, "tanh").fit(outputs("tanh"))
    torch.manual_seed(2)
    b = BregmanPCA(2, "tanh").fit(outputs("tanh"))
    assert torch.equal(a.components_, b.components_)


def test_units_that_are_dead_or_saturated():
    y = outputs("relu").clone()
    y[:, 2] = 0
    pca = BregmanPCA(2, "relu").fit(y)
    assert pca.components_[:, 2].abs().max() == 0
    assert pca.inverse_transform(pca.transform(y))[:, 2].abs().max() == 0
    with pytest.raises(ValueError, match="rank is 8; these 8 features of relu allow at most 7"):
        BregmanPCA(8, "relu").fit(y)
    peaked = torch.eye(4).repeat(5, 1)
    assert BregmanPCA(2, "softmax").fit(peaked).components_.isfinite().all()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="transfer is 'gelu'; it must be monotone"):
        BregmanPCA(2, "gelu")
    with pytest.raises(ValueError, match="rank is 0"):
        BregmanPCA(0)
    with pytest.raises(ValueError, match="mean is 'mode'"):
        BregmanPCA(1, mean="mode")
    with pytest.raises(ValueError, match="rank is 8; these 8 features of softmax allow at most 7"):
        BregmanPCA(8, "softmax").fit(outputs("softmax"))
    with pytest.raises(ValueError, match="those of sigmoid lie in"):
        BregmanPCA(2, "sigmoid").fit(outputs("identity"))


def made(case, name):
    """Outputs on which a fit has little to hold on to."""
    theta = outputs(name) if name == "identity" else transfer(name, 0.1).inverse(outputs(name))
    off = theta - 60 if name != "softmax" else 60 * torch.eye(D)[0] + 0 * theta
    one = off.clone()
    one[:, 3] = theta[:, 3].abs()
    once = off.clone()
    once[5, 3] = 1.0
    cases = {
        "sparse": theta - 2,
        "all off": off,
        "one channel alive": one,
        "one unit alive once": once,
        "constant rows": theta[:1].expand(N, D).clone(),
        "fewer rows than the rank": theta[:2],
        "few rows, many times": theta[:3].repeat(20, 1),
        "large": 1e6 * theta,
        "small": 1e-6 * theta,
    }
    return transfer(name, 0.1).f(cases[case])


@pytest.mark.parametrize("mean", ["dual", "joint"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "case",
    [
        "sparse",
        "all off",
        "one channel alive",
        "one unit alive once",
        "constant rows",
        "fewer rows than the rank",
        "few rows, many times",
        "large",
        "small",
    ],
)
@pytest.mark.filterwarnings("ignore::raykd.modules.bregman_pca.ConvergenceWarning")
def test_outputs_with_little_to_hold_on_to_are_fitted_or_refused(case, name, mean):
    y = made(case, name)
    alive = int((y.mean(0) > 0).sum()) if name == "relu" else D - (name == "softmax")
    pca = BregmanPCA(4, name, mean, slope=0.1, iterations=100)
    if alive < 4:
        with pytest.raises(ValueError, match=r"allow at most|nothing to represent"):
            pca.fit(y)
        return
    pca.fit(y)
    rounding = 1e-12 * (1 + y.square().sum(1).mean().item())
    zero = pca.transfer.loss(pca.mean_.expand_as(y), y).mean().item()
    fit = pca.layer_.loss(pca.coefficients_, y).mean().item()
    encoded = pca.layer_.loss(pca.transform(y), y).mean().item()
    assert -rounding <= encoded <= fit * (1 + 1e-6) + rounding
    assert fit == pytest.approx(pca.loss_, rel=1e-6, abs=rounding)
    assert fit <= zero + rounding
    gram = pca.components_ @ pca.transfer.hessian(pca.mean_) @ pca.components_.T
    assert torch.linalg.eigvalsh(gram).max() <= 1 + 1e-9
    assert pca.components_.abs().max() <= pca.transfer.flat**-0.5 * (1 + 1e-9)
    exported = pca.export()
    assert exported(pca.coefficients_.float()).isfinite().all()


@pytest.mark.parametrize("mean", ["dual", "joint"])
def test_slopes_are_as_exact_as_the_numbers(mean):
    slope, x = 0.01, torch.tensor([-1.0, 2.0], dtype=torch.float64)
    assert transfer("leaky_relu", slope).slope(x).tolist() == [slope, 1.0]
    pca = BregmanPCA(2, "leaky_relu", mean, slope=0.01).fit(outputs("leaky_relu") - 5)
    metric = torch.autograd.functional.jacobian(pca.transfer.f, pca.mean_)
    gram = pca.components_ @ metric @ pca.components_.T
    assert (gram - torch.eye(2).double()).abs().max() < 1e-12


def test_a_limit_of_iterations_that_is_reached_is_told():
    y = outputs("tanh")
    with pytest.warns(ConvergenceWarning, match="rank 3 to tanh was stopped after 2 iterations"):
        stopped = BregmanPCA(3, "tanh", iterations=2).fit(y)
    assert not stopped.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert BregmanPCA(3, "tanh", iterations=2000).fit(y).converged_

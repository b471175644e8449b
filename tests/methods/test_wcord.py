from itertools import permutations

import pytest
import torch

from raykd.methods.unit import unit
from raykd.methods.wcord import WCoRD, global_loss, local_loss, sinkhorn


def transport(cost):
    """The exact optimum: between uniform marginals it is at a permutation (Birkhoff)."""
    n = len(cost)
    return min(float(cost[torch.arange(n), list(order)].mean()) for order in permutations(range(n)))


def test_the_plan_has_the_marginals(draw):
    plan = sinkhorn(draw(5, 5) + 1, 0.1, 200)
    assert plan.sum(0).tolist() == pytest.approx([0.2] * 5)
    assert plan.sum(1).tolist() == pytest.approx([0.2] * 5)
    assert (plan > 0).all()


def test_the_plan_is_a_scaled_gibbs_kernel(draw):
    """Cuturi's form: P = diag(u) exp(−C/ε) diag(v), so P / exp(−C/ε) has rank one."""
    cost = draw(4, 4) + 1
    ratio = sinkhorn(cost, 0.5, 300) * (cost / 0.5).exp()
    assert torch.linalg.svdvals(ratio)[1] < 1e-12


def test_little_regularisation_gives_the_optimal_transport(draw):
    cost = draw(5, 5) + 1
    assert (sinkhorn(cost, 0.005, 2000) * cost).sum().item() == pytest.approx(
        transport(cost), abs=1e-3
    )


def test_much_regularisation_gives_the_mean_cost(draw):
    cost = draw(5, 5) + 1
    plan = sinkhorn(cost, 1e4, 10)
    assert (plan * cost).sum().item() == pytest.approx(cost.mean().item(), rel=1e-3)


def test_the_local_term_does_not_care_who_is_whose(draw):
    z_s, z_t = unit(draw(6, 4)), unit(draw(6, 4, seed=1))
    loss = local_loss(z_s, z_t, 0.1, 100)
    shuffled = local_loss(z_s, z_t[torch.tensor([3, 5, 0, 2, 1, 4])], 0.1, 100)
    assert shuffled.item() == pytest.approx(loss.item(), rel=1e-6)
    assert 0 <= loss <= 2


def test_the_local_term_vanishes_for_the_same_distribution(draw):
    z = unit(draw(6, 4))
    assert local_loss(z, z.flip(0), 0.005, 500).item() == pytest.approx(0, abs=1e-3)


def test_the_local_gradient_holds_the_plan(draw):
    z_s, z_t = unit(draw(4, 3)).requires_grad_(), unit(draw(4, 3, seed=1))
    local_loss(z_s, z_t, 0.1, 50).backward()
    plan = sinkhorn(1 - z_s.detach() @ z_t.T, 0.1, 50)
    assert torch.allclose(z_s.grad, -plan @ z_t)


def test_the_global_term(draw):
    positive, negative = draw(3), draw(3, 5, seed=1)
    taken = torch.tensor([[1, 1, 0, 0, 1], [0, 1, 1, 1, 0], [1, 0, 1, 0, 1]]).bool()
    expected = 0.0
    for i in range(3):
        apart = [float(negative[i, j]) for j in range(5) if taken[i, j]]
        expected += (sum(apart) / 3 - float(positive[i])) / 3
    assert global_loss(positive, negative, taken).item() == pytest.approx(expected)
    shifted = global_loss(positive + 7, negative + 7, taken)  # g + constant is the same critic
    assert shifted.item() == pytest.approx(expected)


def test_the_critic_is_lipschitz(output, data, artefact, batch_of):
    torch.manual_seed(0)
    s, t = output(), output(seed=1, grad=False)
    method = WCoRD(s, t, features=6, negatives=8).double()
    method.prepare(torch.nn.Identity(), data, artefact)
    with torch.no_grad():
        method.critic.parametrizations.weight.original.mul_(50)
    for _ in range(50):
        losses = method(s, t, batch_of())
    assert torch.linalg.matrix_norm(method.critic.weight, 2).item() == pytest.approx(1, abs=1e-3)
    assert abs(losses["global"].item()) <= 2 * 0.8 * 1.2


def test_what_it_refuses(output):
    for config, message in (
        ({"regularisation": 0.0}, "regularisation is"),
        ({"momentum": -0.1}, "momentum is"),
        ({"iterations": 0}, "iterations=0"),
    ):
        with pytest.raises(ValueError, match=message):
            WCoRD(output(), output(), **config)


def test_golden_trace(trace):
    assert trace(WCoRD, negatives=8) == {
        "ce": pytest.approx([1.58149696, 1.69305468, 1.58670506], rel=1e-5),
        "global": pytest.approx([-0.0290510978, -0.0188534093, -0.0202511724], rel=1e-5),
        "local": pytest.approx([0.0519974572, 0.0517575985, 0.0516995528], rel=1e-5),
    }

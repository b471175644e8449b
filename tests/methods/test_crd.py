from copy import deepcopy
from math import exp, log

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.crd import CRD, log_partition, nce_loss


@pytest.fixture
def crd(output, data, artefact):
    def make(s=None, t=None, seed=0, **config):
        torch.manual_seed(seed)
        s, t = s or output(), t or output(seed=1, grad=False)
        method = CRD(s, t, **config).double()
        method.prepare(torch.nn.Identity(), data, artefact)
        return method

    return make


def slow(method, s, t, batch, order, taken, log_z):
    """The published objective with loops; Z from the first batch if `log_z` is None."""
    tau, n = method.temperature, len(method.bank_s.entries)
    k = int(taken[0].sum())
    total, zs = 0.0, []
    for anchor in (0, 1):
        embed = (method.embed_s, method.embed_t)[anchor]
        bank = (method.bank_t, method.bank_s)[anchor].entries
        z = embed((s, t)[anchor].pooled)
        z = z / z.norm(dim=1, keepdim=True)
        rows = []
        for i, own in enumerate(batch.index):
            columns = [int(own), *order[taken[i]].tolist()]
            rows.append([exp((z[i] @ bank[j]).item() / tau) for j in columns])
        partition = exp(log_z[anchor]) if log_z is not None else 0
        if log_z is None:
            partition = n * sum(map(sum, rows)) / (len(rows) * (k + 1))
        zs.append(log(partition))
        for row in rows:
            p = [value / partition for value in row]
            total -= log(p[0] / (p[0] + k / n))
            total -= sum(log((k / n) / (q + k / n)) for q in p[1:])
    return total / len(batch.index), zs


def test_the_formula(crd, output, batch_of):
    s, t, batch = output(), output(seed=1, grad=False), batch_of()
    method = crd(s, t, negatives=6, features=5)
    log_z = None
    for _ in range(2):  # the second step with the banks moved and Z fixed
        before = deepcopy(method)
        torch.manual_seed(5)
        order, taken = before.negatives.draw(batch.target)
        expected, log_z = slow(before, s, t, batch, order, taken, log_z)
        torch.manual_seed(5)
        assert method(s, t, batch)["crd"].item() == pytest.approx(0.8 * expected, rel=1e-10)
        assert method.log_z.tolist() == pytest.approx(log_z)


def test_the_first_batch_fixes_z_and_the_banks_move_on(crd, output, batch_of):
    method, batch = crd(), batch_of()
    s, t = output(), output(seed=1)
    method(s, t, batch)
    log_z, entries = method.log_z.clone(), method.bank_s.entries.clone()
    method(output(seed=2), output(seed=3), batch)
    assert torch.equal(method.log_z, log_z)
    moved = (method.bank_s.entries != entries).any(1)
    assert moved.tolist() == [i < 4 for i in range(len(entries))]
    assert method.bank_s.entries[:4].norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_banks_and_z_are_in_the_state(crd):
    names = set(crd().state_dict())
    assert {"log_z", "bank_s.entries", "bank_t.entries"} <= names
    assert not any("targets" in name for name in names)


def test_a_zero_embedding_does_not_poison(crd, output, batch_of):
    method = crd(output(), output(seed=1))
    torch.nn.init.zeros_(method.embed_s.weight)
    torch.nn.init.zeros_(method.embed_s.bias)
    losses = method(output(), output(seed=1), batch_of())
    sum(losses.values()).backward()
    assert losses["crd"].isfinite()
    assert method.log_z.isfinite().all()
    assert method.bank_s.entries.isfinite().all()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_z_makes_the_mean_probability_one_over_n(draw):
    positive, negative = draw(3), draw(3, 8, seed=1)
    taken = torch.arange(8).repeat(3, 1) % 2 == 0
    log_z = log_partition(positive, negative, taken, samples=50)
    scores = torch.cat([positive, negative[taken]])
    assert (scores - log_z).exp().mean().item() == pytest.approx(1 / 50)


def test_at_the_noise_level_each_decision_costs_a_bit(draw):
    """P = K/N makes h = 1/2: (K + 1) ln 2 a sample."""
    taken = torch.ones(2, 6, dtype=torch.bool)
    level = torch.tensor(log(6 / 100), dtype=torch.float64)
    loss = nce_loss(level.expand(2), level.expand(2, 6), taken, level.item())
    assert loss.item() == pytest.approx(7 * log(2))


def test_negatives_not_taken_count_nothing(draw):
    positive, negative = draw(2), draw(2, 6, seed=1)
    taken = torch.arange(6).repeat(2, 1) < 4
    expected = nce_loss(positive, negative[:, :4], taken[:, :4], -1.0)
    assert nce_loss(positive, negative, taken, -1.0).item() == pytest.approx(expected.item())


def test_no_score_overflows():
    taken = torch.ones(1, 3, dtype=torch.bool)
    loss = nce_loss(torch.tensor([-1e4]), torch.full((1, 3), 1e4), taken, -2.0)
    assert loss.item() == pytest.approx(4e4, rel=1e-3)


def test_gradient(draw):
    taken = torch.arange(5).repeat(3, 1) != 2
    scores = draw(3).requires_grad_(), draw(3, 5, seed=1).requires_grad_()
    assert gradcheck(lambda p, n: nce_loss(p, n, taken, -1.5), scores)


def test_defaults_are_the_benchmarks():
    assert CRD.hyperparameters() == {
        "beta": 0.8,
        "gamma": 1.0,
        "temperature": 0.07,
        "negatives": 16384,
        "features": 128,
        "momentum": 0.5,
    }


def test_embeddings_of_the_published_size(crd, output):
    """R32x4/R8x4: 65,792 parameters, features 256 and 256."""
    wide = output(widths=(4, 6, 256))
    assert sum(p.numel() for p in crd(wide, wide).parameters()) == 65_792


def test_what_it_refuses(output):
    for config, message in (
        ({"temperature": 0.0}, "temperature is"),
        ({"momentum": 1.0}, "momentum is"),
        ({"negatives": 0}, "negatives=0"),
    ):
        with pytest.raises(ValueError, match=message):
            CRD(output(), output(), **config)


def test_golden_trace(trace):
    assert trace(CRD, negatives=8) == {
        "ce": pytest.approx([1.58149696, 1.6913142, 1.57842754], rel=1e-5),
        "crd": pytest.approx([6.4507054, 5.57280998, 5.77929849], rel=1e-5),
    }

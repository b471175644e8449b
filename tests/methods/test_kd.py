from math import exp, log

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.kd import KD, kd_loss


def softmax(row, temperature):
    weights = [exp(y / temperature) for y in row]
    return [w / sum(weights) for w in weights]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_slow_formula(draw, temperature):
    y_s, y_t = draw(4, 5), draw(4, 5, seed=1)
    total = 0.0
    for row_s, row_t in zip(y_s.tolist(), y_t.tolist(), strict=True):
        p_s, p_t = softmax(row_s, temperature), softmax(row_t, temperature)
        total += sum(b * log(b / a) for a, b in zip(p_s, p_t, strict=True))
    expected = temperature**2 * total / 4
    assert kd_loss(y_s, y_t, temperature).item() == pytest.approx(expected, abs=1e-12)


def test_it_is_zero_at_the_teacher_and_blind_to_a_shift(draw):
    y_s, y_t = draw(4, 5), draw(4, 5, seed=1)
    assert kd_loss(y_t, y_t, 4.0).item() == pytest.approx(0, abs=1e-15)
    assert kd_loss(y_t + 3, y_t, 4.0).item() == pytest.approx(0, abs=1e-14)
    assert kd_loss(y_s, y_t, 4.0) > 0


def test_a_high_temperature_compares_centred_logits(draw):
    """T² KL tends to ‖centred difference‖² / 2K (section 2.1 of the paper)."""
    y_s, y_t = draw(4, 5), draw(4, 5, seed=1)
    difference = (y_s - y_s.mean(1, keepdim=True)) - (y_t - y_t.mean(1, keepdim=True))
    expected = difference.square().sum(1).mean() / 10
    assert kd_loss(y_s, y_t, 1e4).item() == pytest.approx(expected.item(), rel=1e-3)


def test_gradient(draw):
    y_s, y_t = draw(3, 4).requires_grad_(), draw(3, 4, seed=1)
    assert gradcheck(lambda y: kd_loss(y, y_t, 4.0), y_s)


def test_weights(output, batch_of):
    s, t, batch = output(), output(seed=1, grad=False), batch_of()
    ce = torch.nn.functional.cross_entropy(s.logits, batch.target)
    kd = kd_loss(s.logits, t.logits, 4.0)
    losses = KD(s, t)(s, t, batch)
    assert losses["ce"].item() == pytest.approx(0.1 * ce.item())
    assert losses["kd"].item() == pytest.approx(0.9 * kd.item())
    losses = KD(s, t, alpha=0.5, gamma=2.0)(s, t, batch)
    assert losses["ce"].item() == pytest.approx(2 * ce.item())
    assert losses["kd"].item() == pytest.approx(0.5 * kd.item())


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match=r"temperature is 0\.0; it must be above 0"):
        KD(output(), output(), temperature=0.0)
    with pytest.raises(ValueError, match="student has 5 classes and the teacher 7"):
        KD(output(), output(classes=7))


def test_golden_trace(trace):
    assert trace(KD) == {
        "ce": pytest.approx([0.158149696, 0.169161964, 0.158451726], rel=1e-5),
        "kd": pytest.approx([0.0364614378, 0.0362876661, 0.0363285875], rel=1e-5),
    }

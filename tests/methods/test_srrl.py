from math import exp, log

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from raykd.methods.srrl import (
    SRRL,
    cross_entropy_sr_loss,
    feature_matching_loss,
    logit_mse_sr_loss,
)


def softmax(row):
    weights = [exp(y) for y in row]
    return [w / sum(weights) for w in weights]


def test_slow_formulas(draw):
    a, b = draw(3, 4), draw(3, 4, seed=1)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    squares = sum((x - y) ** 2 for p, q in pairs for x, y in zip(p, q, strict=True)) / 12
    assert feature_matching_loss(a, b).item() == pytest.approx(squares, abs=1e-14)
    assert logit_mse_sr_loss(a, b).item() == pytest.approx(squares, abs=1e-14)
    entropies = [
        -sum(p * log(q) for p, q in zip(softmax(t), softmax(s), strict=True)) for s, t in pairs
    ]
    assert cross_entropy_sr_loss(a, b).item() == pytest.approx(sum(entropies) / 3, abs=1e-14)


def test_minima(draw):
    p, other = draw(3, 4), draw(3, 4, seed=1)
    assert feature_matching_loss(p, p) == 0
    assert logit_mse_sr_loss(p, p) == 0
    probability = p.softmax(1)
    entropy = -(probability * probability.log()).sum(1).mean()
    assert cross_entropy_sr_loss(p, p).item() == pytest.approx(entropy.item(), abs=1e-14)
    assert cross_entropy_sr_loss(other, p) > entropy
    assert cross_entropy_sr_loss(other + 2, p).item() == pytest.approx(
        cross_entropy_sr_loss(other, p).item()
    )


@pytest.mark.parametrize("loss", [cross_entropy_sr_loss, logit_mse_sr_loss])
def test_gradient(draw, loss):
    q, p = draw(3, 4).requires_grad_(), draw(3, 4, seed=1)
    assert gradcheck(lambda x: loss(x, p), q)


def prepared(tiny_net, data, **config):
    teacher = tiny_net(1, widths=(5, 6), sizes=(6, 4))
    student = tiny_net(2, widths=(4, 8), sizes=(6, 3))
    with torch.no_grad():
        s, t = student.eval()(data.inputs[:8]), teacher.eval()(data.inputs[:8])
    method = SRRL(s, t, **config)
    method.prepare(teacher, data, lambda kind, config, make: make())
    return method, teacher, s, t


@pytest.mark.parametrize(
    ("classifier", "loss"),
    [("logit_mse", logit_mse_sr_loss), ("cross_entropy", cross_entropy_sr_loss)],
)
def test_equation_5(tiny_net, data, classifier, loss):
    method, teacher, s, t = prepared(tiny_net, data, alpha=2.0, beta=3.0, classifier=classifier)
    method.eval()
    losses = method(s, t, data.batch(torch.arange(8)))
    h_s = method.connector(s.stages[-1]).mean((2, 3))
    assert losses["fm"].item() == pytest.approx(2 * feature_matching_loss(h_s, t.pooled).item())
    q = h_s @ teacher.head.weight.T + teacher.head.bias
    assert losses["sr"].item() == pytest.approx(3 * loss(q, t.logits).item(), rel=1e-5)


def test_the_teachers_head_is_asked_and_not_owned(tiny_net, data):
    method, teacher, s, t = prepared(tiny_net, data)
    assert all(name.startswith("connector.") for name in method.state_dict())
    assert len(list(method.parameters())) == 3
    assert method.head.module is teacher.head
    sum(method(s, t, data.batch(torch.arange(8))).values()).backward()
    assert teacher.head.weight.requires_grad
    assert teacher.head.weight.grad is None
    assert method.connector[0].weight.grad.abs().sum() > 0


def test_the_connectors_shape(tiny_net, data):
    connector = prepared(tiny_net, data)[0].connector
    assert connector[0].weight.shape == (6, 8, 1, 1)
    assert connector[0].bias is None


def test_he_initialisation(output):
    s, t = output(batch=1, widths=(64,), sizes=(1,)), output(batch=1, widths=(512,), sizes=(1,))
    torch.manual_seed(0)
    deviation = SRRL(s, t).connector[0].weight.std().item()
    assert deviation == pytest.approx((2 / 512) ** 0.5, rel=0.02)


def test_what_it_refuses(output, data):
    with pytest.raises(ValueError, match="classifier is 'kl'; it must be one of logit_mse"):
        SRRL(output(), output(), classifier="kl")
    flat = output().map(lambda tensor: tensor.flatten(1))
    with pytest.raises(ValueError, match=r"stages\[2\] of the student has the shape \(4, 32\)"):
        SRRL(flat, output())
    method = SRRL(output(), output())
    with pytest.raises(ValueError, match=r"Linear\.head is None"):
        method.prepare(nn.Linear(2, 2), data, lambda kind, config, make: make())


def test_golden_trace(trace):
    assert trace(SRRL) == {
        "ce": pytest.approx([1.58149696, 1.69268739, 1.58635038], rel=1e-5),
        "fm": pytest.approx([0.202018489, 0.208373098, 0.199086211], rel=1e-5),
        "sr": pytest.approx([0.119517919, 0.116592909, 0.105117174], rel=1e-5),
    }

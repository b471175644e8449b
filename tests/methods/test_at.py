from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.at import AT, attention_loss, attention_map


def slow_map(f, p):
    channels, height, width = f.shape
    q = [
        sum(abs(float(f[c, y, x])) ** p for c in range(channels)) / channels
        for y in range(height)
        for x in range(width)
    ]
    norm = sum(v * v for v in q) ** 0.5
    return [v / norm for v in q]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_slow_formula(draw, p):
    f_s, f_t = draw(2, 3, 4, 4), draw(2, 5, 4, 4, seed=1)
    total = 0.0
    for a, b in zip(f_s, f_t, strict=True):
        total += sum((x - y) ** 2 for x, y in zip(slow_map(a, p), slow_map(b, p), strict=True))
    loss = attention_loss(attention_map(f_s, p), attention_map(f_t, p))
    assert loss.item() == pytest.approx(total / 32, abs=1e-14)


def test_invariances(draw):
    f = draw(2, 3, 4, 4)
    q = attention_map(f, 2.0)
    assert torch.allclose(q.square().sum(1), torch.ones(2, dtype=q.dtype))
    assert torch.allclose(attention_map(-3 * f, 2.0), q)
    assert torch.allclose(attention_map(f[:, [2, 0, 1]], 2.0), q)
    assert attention_loss(q, q) == 0


def test_gradient(draw):
    f, q = draw(2, 3, 2, 2).requires_grad_(), attention_map(draw(2, 3, 2, 2, seed=1), 2.0)
    assert gradcheck(lambda x: attention_loss(attention_map(x, 2.0), q), f)


def test_an_empty_map_gives_a_bounded_gradient(draw):
    f = draw(2, 3, 4, 4)
    f[1] = 0
    f.requires_grad_()
    attention_loss(attention_map(f, 2.0), attention_map(draw(2, 3, 4, 4, seed=1), 2.0)).backward()
    assert f.grad.abs().max() < 10


def test_stages_are_summed_and_paired_from_the_last_at_the_smaller_size(output, batch_of):
    s = output(widths=(4, 6), sizes=(8, 3))
    t = output(seed=1, widths=(3, 5, 7), sizes=(16, 4, 6), grad=False)
    pool = torch.nn.functional.adaptive_avg_pool2d
    expected = [
        attention_loss(attention_map(pool(s.stages[0], 4), 2.0), attention_map(t.stages[1], 2.0)),
        attention_loss(attention_map(s.stages[1], 2.0), attention_map(pool(t.stages[2], 3), 2.0)),
    ]
    loss = AT(s, t, beta=10.0)(s, t, batch_of())["attention"]
    assert loss.item() == pytest.approx(10 * sum(expected).item(), rel=1e-12)


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match=r"p is 0\.5; it must be at least 1"):
        AT(output(), output(), p=0.5)
    with pytest.raises(ValueError, match="the student has no stages"):
        AT(replace(output(), stages=()), output())
    flat = output().map(lambda tensor: tensor.flatten(1))
    with pytest.raises(ValueError, match=r"stages\[2\] of the teacher has the shape \(4, 32\)"):
        AT(output(), flat)


def test_golden_trace(trace):
    assert trace(AT) == {
        "ce": pytest.approx([1.58149696, 1.6467959, 1.65727263], rel=1e-5),
        "attention": pytest.approx([339.766458, 113.919142, 151.389864], rel=1e-5),
    }

from copy import deepcopy

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.noise import Noise, soft_cross_entropy
from raykd.modules.batch_statistics import on_batch_statistics

TEACHER = {"widths": (5, 7, 9, 12), "sizes": (10, 8, 6, 4)}


def test_the_formula(draw):
    y_s, y_t = draw(3, 4) * 4, draw(3, 4, seed=1) * 4
    expected = 0.0
    for a, b in zip(y_s, y_t, strict=True):
        p_s, p_t = a.exp() / a.exp().sum(), b.exp() / b.exp().sum()
        expected -= sum(float(t) * float(s.log()) for s, t in zip(p_s, p_t, strict=True)) / 3
    assert soft_cross_entropy(y_s, y_t).item() == pytest.approx(expected)


def test_the_entropy_is_the_least(draw):
    y = draw(3, 4)
    entropy = -(y.softmax(1) * y.log_softmax(1)).sum(1).mean()
    assert soft_cross_entropy(y + 5, y).item() == pytest.approx(entropy.item())
    assert soft_cross_entropy(draw(3, 4, seed=1), y) > entropy


def test_gradient(draw):
    y_t = draw(3, 4, seed=1)
    assert gradcheck(lambda y: soft_cross_entropy(y, y_t), draw(3, 4).requires_grad_())


def prepared(teacher, data, artefact, output, **config):
    method = Noise(output(grad=False), output(seed=1, grad=False), **config)
    method.prepare(teacher, data, artefact)
    return method


def test_the_teacher_answers_on_batch_statistics(tiny_net, data, artefact, output):
    teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
    before = deepcopy(teacher.state_dict())
    batch, s = next(data.train(0)), tiny_net(2, **TEACHER)(next(data.train(0)).input)
    for fraction in (0.0, 0.5, 1.0):
        method = prepared(teacher, data, artefact, output, fraction=fraction)
        answers = on_batch_statistics(teacher, fraction)(batch.input).logits
        expected = soft_cross_entropy(s.logits, answers)
        assert method(s, teacher(batch.input), batch)["noise"].item() == expected.item()
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert not torch.equal(answers, teacher(batch.input).logits)


def test_a_cohort_asks_the_teacher_once(tiny_net, data, artefact, output):
    teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
    batch = next(data.train(0))
    t, s = teacher(batch.input), tiny_net(2, **TEACHER)(batch.input)
    methods = [prepared(teacher, data, artefact, output) for _ in range(2)]
    first = methods[0](s, t, batch)
    methods[1].teacher = ()  # it has no need of it
    assert methods[1](s, t, batch)["noise"].item() == first["noise"].item()


def test_labels_are_not_used(tiny_net, data, artefact, output):
    teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
    batch = next(data.train(0))
    s, method = tiny_net(2, **TEACHER)(batch.input), prepared(teacher, data, artefact, output)
    losses = [
        method(s, teacher(batch.input), batch._replace(target=target))["noise"].item()
        for target in (batch.target, torch.zeros_like(batch.target))
    ]
    assert losses[0] == losses[1]
    assert method.state_dict() == {}


def test_what_it_refuses(output, data, artefact):
    with pytest.raises(ValueError, match=r"fraction is 1\.5"):
        Noise(output(), output(), fraction=1.5)
    with pytest.raises(ValueError, match="student has 5 classes and the teacher 7"):
        Noise(output(), output(classes=7))
    method = Noise(output(), output())
    with pytest.raises(ValueError, match="Linear has no batch norm"):
        method.prepare(torch.nn.Linear(2, 2), data, artefact)


def test_golden_trace(trace):
    assert trace(Noise) == {"noise": pytest.approx([1.62464846, 1.62307144, 1.61886793], rel=1e-5)}

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.sp import SP, similarity, similarity_loss


def slow_similarity(f):
    rows = [f_i.flatten().tolist() for f_i in f]
    gram = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in rows] for p in rows]
    return [[g / sum(h * h for h in row) ** 0.5 for g in row] for row in gram]


def test_slow_formula(draw):
    f_s, f_t = draw(4, 3, 2, 2), draw(4, 5, 3, 3, seed=1)
    g_s, g_t = slow_similarity(f_s), slow_similarity(f_t)
    expected = sum((g_s[i][j] - g_t[i][j]) ** 2 for i in range(4) for j in range(4)) / 16
    loss = similarity_loss(similarity(f_s), similarity(f_t))
    assert loss.item() == pytest.approx(expected, abs=1e-14)


def test_invariances(draw):
    f = draw(5, 7)
    rotation = torch.linalg.qr(draw(7, 7, seed=1)).Q
    assert torch.allclose(similarity(3 * f @ rotation), similarity(f))
    assert similarity_loss(similarity(f), similarity(f)) == 0
    assert torch.allclose(similarity(f).norm(dim=1), torch.ones(5, dtype=f.dtype))


def test_gradient(draw):
    g_t, f = similarity(draw(3, 5, seed=1)), draw(3, 4).requires_grad_()
    assert gradcheck(lambda x: similarity_loss(similarity(x), g_t), f)


def test_an_empty_row_gives_a_bounded_gradient(draw):
    f = draw(4, 6).float()
    f[2] = 0
    f.requires_grad_()
    similarity_loss(similarity(f), similarity(draw(4, 6, seed=1).float())).backward()
    assert f.grad.abs().max() < 10
    ordinary = draw(4, 6).float()
    gram = ordinary @ ordinary.T
    assert similarity(ordinary).equal(torch.nn.functional.normalize(gram))


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-6, 1e-4])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_a_sample_without_direction_pulls_as_any_other(draw, scale, length):
    f = scale * draw(16, 8, 4, 4).float()
    f[3] *= length
    f.requires_grad_()
    similarity_loss(similarity(f), similarity(draw(16, 9, 4, 4, seed=1).float())).backward()
    pull = f.grad.flatten(1).norm(dim=1)
    assert pull[3] < 200 * pull.median()
    assert pull[3] < 10 * pull.median() or length > 0


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1e3])
def test_the_scale_of_the_maps_does_not_matter(draw, scale):
    f = draw(4, 6).float()
    assert torch.allclose(similarity(scale * f), similarity(f), atol=1e-6)


def test_any_shape_will_do(output, batch_of):
    s, t = output(), output(seed=1, grad=False).map(lambda tensor: tensor.flatten(1))
    loss = SP(s, t)(s, t, batch_of())["similarity"]
    expected = similarity_loss(similarity(s.stages[-1]), similarity(t.stages[-1]))
    assert loss.item() == pytest.approx(3000 * expected.item())
    nothing = type(s)(s.logits, (), s.pooled)
    with pytest.raises(ValueError, match="the teacher has no stages"):
        SP(s, nothing)


def test_golden_trace(trace):
    assert trace(SP) == {
        "ce": pytest.approx([1.58149696, 1.67939211, 1.62004487], rel=1e-5),
        "similarity": pytest.approx([27.3727289, 13.5647077, 34.1351436], rel=1e-5),
    }

import pytest
from torch.autograd import gradcheck

from raykd.methods.fitnet import FitNet, hint_loss


def test_slow_formula(draw):
    r, u = draw(2, 3, 2, 2), draw(2, 3, 2, 2, seed=1)
    pairs = zip(r.flatten().tolist(), u.flatten().tolist(), strict=True)
    expected = sum((a - b) ** 2 for a, b in pairs) / 24
    assert hint_loss(r, u).item() == pytest.approx(expected, abs=1e-15)
    assert hint_loss(u, u) == 0
    assert gradcheck(lambda x: hint_loss(x, u), r.requires_grad_())


def test_it_compares_the_regressed_map_of_the_hinted_stage(output, batch_of):
    s, t = output(), output(seed=1, widths=(5, 7, 9), sizes=(8, 8, 4), grad=False)
    for hint in (0, 1, 2):
        method = FitNet(s, t, hint=hint, beta=2.0).double().eval()
        losses = method(s, t, batch_of())
        expected = hint_loss(method.regressor(s.stages[hint]), t.stages[hint])
        assert losses["hint"].item() == pytest.approx(2 * expected.item())


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match=r"hint is 3; .* 3 stages .* below 3"):
        FitNet(output(), output(), hint=3)
    with pytest.raises(ValueError, match="hint is -1"):
        FitNet(output(), output(), hint=-1)
    with pytest.raises(ValueError, match=r"stages\[1\]: the student's map is 4 x 4 .* 7 x 7"):
        FitNet(output(), output(sizes=(8, 7, 2)))
    flat = output().map(lambda tensor: tensor.flatten(1))
    with pytest.raises(ValueError, match=r"stages\[1\] of the teacher has the shape \(4, 96\)"):
        FitNet(output(), flat)


def test_golden_trace(trace):
    assert trace(FitNet) == {
        "ce": pytest.approx([1.58149696, 1.66359678, 1.62971475], rel=1e-5),
        "hint": pytest.approx([49.9778634, 20.7375901, 6.63832068], rel=1e-5),
    }

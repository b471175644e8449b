from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from raykd.methods.reviewkd import ABF, ReviewKD, hcl_loss


def mean_square(a, b, cells):
    """MSE of averages over cells × cells equal blocks, one position at a time."""
    step = a.shape[-1] // cells
    total = 0.0
    for y in range(cells):
        for x in range(cells):
            block = (..., slice(y * step, (y + 1) * step), slice(x * step, (x + 1) * step))
            total += (a[block].mean((2, 3)) - b[block].mean((2, 3))).square().mean().item()
    return total / cells**2


@pytest.mark.parametrize(
    ("size", "weights"),
    [
        (8, {8: 1, 4: 0.5, 2: 0.25, 1: 0.125}),
        (4, {4: 1, 2: 0.5, 1: 0.25}),
        (2, {2: 1, 1: 0.5}),
        (1, {1: 1}),
    ],
)
def test_slow_formula(draw, size, weights):
    f_s, f_t = draw(2, 3, size, size), draw(2, 3, size, size, seed=1)
    expected = sum(w * mean_square(f_s, f_t, cells) for cells, w in weights.items())
    assert hcl_loss(f_s, f_t).item() == pytest.approx(expected / sum(weights.values()), abs=1e-14)
    assert hcl_loss(f_t, f_t) == 0


def test_gradient(draw):
    f_s, f_t = draw(2, 2, 4, 4).requires_grad_(), draw(2, 2, 4, 4, seed=1)
    assert gradcheck(lambda f: hcl_loss(f, f_t), f_s)


PAIRS = [
    ((32, 64, 128), 128, (32, 64, 128), 128, 453_830),
    ((16, 32, 64), 64, (32, 64, 128), 128, 216_006),
    ((16, 32, 64), 64, (16, 32, 64), 64, 114_278),
    ((64, 128, 256), 256, (64, 128, 256), 256, 1_808_774),
    ((128, 256, 512, 512), 512, (128, 256, 512, 512), 512, 9_847_560),
    ((12, 16, 48, 160), 1280, (128, 256, 512, 512), 512, 9_640_712),
    ((12, 16, 48, 160), 1280, (256, 512, 1024, 2048), 2048, 27_933_192),
    ((128, 256, 512, 512), 512, (256, 512, 1024, 2048), 2048, 28_140_040),
    ((240, 480, 960), 960, (64, 128, 256), 256, 4_607_366),
    ((116, 232, 464), 1024, (64, 128, 256), 256, 4_195_718),
    ((240, 480, 960), 960, (32, 64, 128), 128, 2_984_646),
]


@pytest.mark.parametrize(("s_maps", "s_pooled", "t_maps", "t_pooled", "parameters"), PAIRS)
def test_parameters_of_the_papers_pairs(output, s_maps, s_pooled, t_maps, t_pooled, parameters):
    def shaped(maps, pooled):
        made = output(batch=1, widths=maps, sizes=(1,) * len(maps))
        return replace(made, pooled=torch.zeros(1, pooled, dtype=torch.float64))

    method = ReviewKD(shaped(s_maps, s_pooled), shaped(t_maps, t_pooled))
    assert sum(p.numel() for p in method.parameters()) == parameters


def test_fusion_by_hand(draw):
    module = ABF(3, 4, 5, deepest=False).double().eval()
    f, deeper = draw(2, 3, 4, 4), draw(2, 4, 2, 2, seed=1)
    compared, fused = module(f, deeper, (8, 8))
    up = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    narrow = module.reduce(f)
    share = module.attention(torch.cat([narrow, up], 1)).sigmoid()
    expected = share[:, 0, None] * narrow + share[:, 1, None] * up
    expected = expected.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(fused, expected)
    assert torch.allclose(compared, module.expand(expected))


def test_it_reviews_from_the_pooled_features_to_the_first_stage(output, batch_of):
    s, t = output(), output(seed=1, widths=(5, 7, 9), sizes=(8, 8, 4), grad=False)
    method = ReviewKD(s, t, beta=2.0).double().eval()
    fused, expected = None, 0.0
    maps = [s.pooled[:, :, None, None], *reversed(s.stages)]
    targets = [t.pooled[:, :, None, None], *reversed(t.preacts)]
    for fusion, f_s, f_t in zip(method.fusions, maps, targets, strict=True):
        compared, fused = fusion(f_s, fused, tuple(f_t.shape[2:]))
        expected += hcl_loss(compared, f_t).item()
    loss = method(s, t, batch_of())["review"]
    assert loss.item() == pytest.approx(2 * expected, rel=1e-12)
    loss.backward()
    assert all(stage.grad.abs().sum() > 0 for stage in s.stages)
    assert s.pooled.grad.abs().sum() > 0


def test_the_weight_ramps_over_a_twelfth_of_the_training(output, batch_of):
    s, t = output(), output(seed=1, grad=False)
    method = ReviewKD(s, t).double().eval()
    losses = []
    for epoch in (0, 5, 20, 239):
        method.schedule(epoch / 240)
        losses.append(method(s, t, batch_of())["review"].item())
    full = losses[-1]
    assert losses == pytest.approx([0, full / 4, full, full])
    method = ReviewKD(s, t, warmup=0.0)
    method.schedule(0.0)
    assert method.ramp == 1


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match="the teacher has 3 stages and 0 preacts"):
        ReviewKD(output(), replace(output(), preacts=()))
    with pytest.raises(ValueError, match=r"warmup is 1\.5"):
        ReviewKD(output(), output(), warmup=1.5)
    flat = output().map(lambda tensor: tensor.flatten(1))
    with pytest.raises(ValueError, match=r"stages\[2\] of the student has the shape \(4, 32\)"):
        ReviewKD(flat, output())


def test_golden_trace(trace):
    assert trace(ReviewKD) == {
        "ce": pytest.approx([1.58149696, 1.69303665, 1.58325812], rel=1e-5),
        "review": pytest.approx([0, 16.0734183, 15.5668263], rel=1e-5),
    }

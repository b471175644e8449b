import pytest
import torch

from raykd.methods.maps import common_size, last_map, last_stage, map_at, pooled_to, stage_pairs


def test_stages_are_paired_from_the_last(output):
    s, t = output(), output(widths=(3, 5), sizes=(4, 2))
    pairs = stage_pairs(s, t)
    assert [(a.shape[1], b.shape[1]) for a, b in pairs] == [(6, 3), (8, 5)]
    assert last_map("student", s) is s.stages[-1]
    assert map_at("student", s, 0) is s.stages[0]


def test_the_larger_map_is_averaged(draw):
    f_s, f_t = draw(2, 3, 8, 6), draw(2, 5, 4, 12)
    assert common_size(f_s, f_t) == (4, 6)
    pooled = pooled_to(f_s, (4, 6))
    assert torch.allclose(pooled, (f_s[:, :, ::2] + f_s[:, :, 1::2]) / 2)
    assert pooled_to(f_s, (8, 6)) is f_s


def test_what_has_no_map(output):
    s = output()
    flat = s.map(lambda tensor: tensor.flatten(1))
    assert last_stage("student", flat) is flat.stages[-1]
    with pytest.raises(ValueError, match=r"stages\[2\] of the student has the shape \(4, 32\)"):
        last_map("student", flat)
    with pytest.raises(ValueError, match=r"stages\[2\] of the teacher has the shape \(4, 32\)"):
        stage_pairs(s, flat)
    nothing = type(s)(s.logits, (), s.pooled)
    with pytest.raises(ValueError, match="the teacher has no stages"):
        stage_pairs(s, nothing)

"""Pairs of feature maps of a student and a teacher, and their common size."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.models import Output

Stage = Float[Tensor, "B ..."]
Map = Float[Tensor, "B _ _ _"]


def last_stage(who: str, output: Output) -> Stage:
    """Returns the output of the last stage, of any shape.

    Args:
        who: "student" or "teacher", for the error message.
        output: Output of that model.

    Raises:
        ValueError: The model has no stages.
    """
    if not output.stages:
        raise ValueError(
            f"the {who} has no stages; this method compares them: let its `Output` have some"
        )
    return output.stages[-1]


def map_at(who: str, output: Output, i: int) -> Map:
    """Returns the map (batch, channels, height, width) of stage `i`.

    Raises:
        ValueError: The output of that stage has another number of dimensions.
    """
    f = output.stages[i]
    if f.ndim != 4:
        raise ValueError(
            f"stages[{i}] of the {who} has the shape {tuple(f.shape)}; this method needs maps"
            " (batch, channels, height, width)"
        )
    return f


def last_map(who: str, output: Output) -> Map:
    """Returns the map of the last stage.

    Raises:
        ValueError: The model has no stages, or the output of its last one is no map.
    """
    last_stage(who, output)
    return map_at(who, output, len(output.stages) - 1)


def stage_pairs(s: Output, t: Output) -> list[tuple[Map, Map]]:
    """Returns pairs of maps of student and teacher, from the first paired stage to the last.

    Stages are paired from the last one backwards: if one model has more, its first ones have no
    partner.

    Raises:
        ValueError: A model has no stages, or the output of one that would be paired is no map.
    """
    last_map("student", s), last_map("teacher", t)
    n_s, n_t = len(s.stages), len(t.stages)
    return [
        (map_at("student", s, n_s - i), map_at("teacher", t, n_t - i))
        for i in range(min(n_s, n_t), 0, -1)
    ]


def common_size(f_s: Map, f_t: Map) -> tuple[int, int]:
    """Returns the smaller height and the smaller width of two maps."""
    return min(f_s.shape[2], f_t.shape[2]), min(f_s.shape[3], f_t.shape[3])


def pooled_to(f: Map, size: tuple[int, int]) -> Map:
    """Returns the map averaged to `size` (height, width), or the map itself if it has that size."""
    return f if f.shape[2:] == size else F.adaptive_avg_pool2d(f, size)

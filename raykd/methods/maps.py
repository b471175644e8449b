"""Feature maps of a student and a teacher: which belong together, and at which size."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.models import Output

Stage = Float[Tensor, "B ..."]
Map = Float[Tensor, "B _ _ _"]


def last_stage(who: str, output: Output) -> Stage:
    """Returns what the last stage gave, of any shape.

    Args:
        who: "student" or "teacher", for the message.
        output: What that model says.

    Raises:
        ValueError: The model has no stages.
    """
    if not output.stages:
        raise ValueError(
            f"the {who} has no stages; this method compares them: let its `Output` have some"
        )
    return output.stages[-1]


def map_at(who: str, output: Output, i: int) -> Map:
    """Returns the map of stage `i`.

    Raises:
        ValueError: That stage gives no map.
    """
    f = output.stages[i]
    if f.ndim != 4:
        raise ValueError(
            f"stages[{i}] of the {who} has the shape {tuple(f.shape)}; this method needs maps"
            " (batch, channels, height, width)"
        )
    return f


def last_map(who: str, output: Output) -> Map:
    """Returns the last map.

    Raises:
        ValueError: The model has no stages, or its last one gives no map.
    """
    last_stage(who, output)
    return map_at(who, output, len(output.stages) - 1)


def stage_pairs(s: Output, t: Output) -> list[tuple[Map, Map]]:
    """Pairs the maps of student and teacher, counted from the last where one has more.

    Raises:
        ValueError: A model has no stages, or one that would be paired gives no map.
    """
    last_map("student", s), last_map("teacher", t)
    n_s, n_t = len(s.stages), len(t.stages)
    return [
        (map_at("student", s, n_s - i), map_at("teacher", t, n_t - i))
        for i in range(min(n_s, n_t), 0, -1)
    ]


def common_size(f_s: Map, f_t: Map) -> tuple[int, int]:
    """Height and width of the smaller map."""
    return min(f_s.shape[2], f_t.shape[2]), min(f_s.shape[3], f_t.shape[3])


def pooled_to(f: Map, size: tuple[int, int]) -> Map:
    """Returns the map averaged to `size` (height, width); itself where it has that size."""
    return f if f.shape[2:] == size else F.adaptive_avg_pool2d(f, size)

"""Evaluation: accuracy and cross-entropy of several models in one pass over a split."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch
from raykd.train import workers


@torch.no_grad()
def evaluate(
    models: Sequence[nn.Module],
    batches: Iterable[Batch],
    *,
    autocast: bool = False,
    guard: Callable[[int], AbstractContextManager[None]] = lambda i: nullcontext(),
) -> list[dict[str, float]]:
    """Evaluates each model on the same batches, in eval mode.

    With several workers, each evaluates its own part of the batches; all return the whole result.

    Args:
        models: Models to evaluate, in any mode; they are left in eval mode.
        batches: Batches of the split; of this worker's part of it with several workers.
        autocast: True to run the models in bfloat16.
        guard: Context manager around each forward pass, made from the model's position in
            `models`. If it suppresses an exception, that model's result is meaningless.

    Returns:
        For each model `top1` and `top5` (accuracies in [0, 1]; `top5` is over all classes if there
        are fewer than five) and `loss` (mean cross-entropy in nats).

    Raises:
        ValueError: The split has no samples.
    """
    for model in models:
        model.eval()
    device = next((p.device for model in models for p in model.parameters()), torch.device("cpu"))
    sums = torch.zeros(len(models), 4, dtype=torch.float64, device=device)
    for batch in batches:
        sums[:, 3] += len(batch.target)
        for i, model in enumerate(models):
            with guard(i):
                sums[i, :3] += _counts(model, batch, autocast).to(sums)
    workers.add_up(sums)
    if not sums[:, 3].all():
        raise ValueError(
            "there is nothing to evaluate on: the split has no samples; give the data a validation"
            " and a test split"
        )
    names = ("top1", "top5", "loss")
    return [dict(zip(names, row[:3], strict=True)) for row in (sums / sums[:, 3:]).tolist()]


def _counts(model: nn.Module, batch: Batch, autocast: bool) -> Float[Tensor, "3"]:
    """Returns a batch's number of top-1 hits, number of top-5 hits and summed loss, in float64."""
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=autocast):
        logits = model(batch.input).logits
    logits = logits.float()
    loss = F.cross_entropy(logits, batch.target, reduction="sum")
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == batch.target[:, None]
    return torch.stack([value.double() for value in (best[:, 0].sum(), best.sum(), loss)])

"""Accuracy and cross-entropy of students on a split, one pass over the data for all of them."""

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from raykd.data import Batch


@torch.no_grad()
def evaluate(
    models: Sequence[nn.Module], batches: Iterable[Batch], *, autocast: bool = False
) -> list[dict[str, float]]:
    """Evaluates each model on the same batches, in eval mode.

    Where several workers run, each gives its share of the batches and all get the whole result.

    Returns:
        For each model `top1` and `top5` (accuracies in [0, 1]; `top5` counts the best of five, or
        of all classes where there are fewer) and `loss` (cross-entropy in nats).
    """
    for model in models:
        model.eval()
    sums: list[torch.Tensor] | None = None
    for batch in batches:
        sums = sums or [
            torch.zeros(4, dtype=torch.float64, device=batch.target.device) for _ in models
        ]
        for model, total in zip(models, sums, strict=True):
            with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=autocast):
                logits = model(batch.input).logits
            logits = logits.float()
            loss = F.cross_entropy(logits, batch.target, reduction="sum")
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == batch.target[:, None]
            counts = (best[:, 0].sum(), best.sum(), loss, torch.tensor(len(batch.target)))
            total += torch.stack([value.to(total) for value in counts])
    if sums is None:
        raise ValueError("there is nothing to evaluate on: the split has no samples")
    table = torch.stack(sums)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(table)
    top1, top5, loss, count = table.T.tolist()
    return [
        {"top1": top1[i] / count[i], "top5": top5[i] / count[i], "loss": loss[i] / count[i]}
        for i in range(len(models))
    ]

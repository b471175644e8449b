"""Accuracy and loss are those of a plain computation over the whole split."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.data import Batch
from raykd.models import Output
from raykd.train.evaluate import evaluate

N, K = 53, 9


class Saying(nn.Module):
    """Says what was prepared for each sample, named by the input."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Output:
        assert not self.training
        assert not torch.is_grad_enabled()
        logits = self.logits[x[:, 0].long()]
        return Output(logits, (), x)


def batches(target: Tensor, size: int) -> Iterator[Batch]:
    for index in torch.arange(len(target)).split(size):
        yield Batch(index, index[:, None].float(), target[index])


@pytest.fixture
def target() -> Tensor:
    torch.manual_seed(0)
    return torch.randint(K, (N,))


@pytest.mark.parametrize("classes", [K, 3])
@pytest.mark.parametrize("size", [1, 8, N])
def test_equals_a_plain_computation(target: Tensor, classes: int, size: int) -> None:
    target = target % classes
    logits = [torch.randn(N, classes), torch.randn(N, classes)]
    found = evaluate([Saying(said) for said in logits], batches(target, size))
    for said, row in zip(logits, found, strict=True):
        rank = (said > said.gather(1, target[:, None])).sum(1)
        assert row["top1"] == pytest.approx((rank == 0).double().mean().item())
        assert row["top5"] == pytest.approx((rank < 5).double().mean().item())
        loss = F.cross_entropy(said.double(), target)
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_bfloat16_sums_in_double(target: Tensor) -> None:
    said = torch.randn(N, K).bfloat16()
    [row] = evaluate([Saying(said)], batches(target, 8), autocast=True)
    assert row["loss"] == pytest.approx(F.cross_entropy(said.double(), target).item(), rel=1e-6)


def test_divergence_is_not_hidden(target: Tensor) -> None:
    said = torch.randn(N, K)
    said[3] = float("nan")
    [row, other] = evaluate([Saying(said), Saying(torch.zeros(N, K))], batches(target, 8))
    assert row["loss"] != row["loss"]
    assert other["loss"] == pytest.approx(torch.tensor(K).log().item())


def test_a_split_without_samples() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate on: the split has no samples"):
        evaluate([Saying(torch.zeros(1, K))], [])

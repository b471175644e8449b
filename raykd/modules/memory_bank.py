"""What contrastive methods remember of every training sample, and whom they contrast it with."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """A moving average of each training sample's embedding, kept at length one.

    Takes 4 · samples · width bytes, and stands in the checkpoint. A worker of several keeps a bank
    of its own.

    Args:
        samples: Number of training samples.
        width: Features of an embedding.
        momentum: Share of the old entry in the new one.
    """

    entries: Float[Tensor, "N D"]

    def __init__(self, samples: int, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        bound = (3 / width) ** 0.5  # the mean square of an entry is then 1, as in the CRD code
        self.register_buffer("entries", torch.empty(samples, width).uniform_(-bound, bound))

    @torch.no_grad()
    def update(self, index: Int64[Tensor, "B"], embedding: Float[Tensor, "B D"]) -> None:
        """Moves the samples' entries towards their embeddings.

        An entry stays as it is where the embedding is not finite or leaves nothing to normalise:
        one bad batch must not poison the bank.
        """
        old = self.entries[index]
        mixed = self.momentum * old + (1 - self.momentum) * embedding
        norm = torch.linalg.vector_norm(mixed, dim=1, keepdim=True)
        good = norm.isfinite() & (norm > 1e-8)
        self.entries[index] = torch.where(good, mixed / norm, old)


class Negatives(nn.Module):
    """Draws training samples of other classes without replacement.

    All samples of a batch read one random order of the training set, each skipping its own class:
    for each sample the draw is uniform without replacement, and the bank is read as one matrix
    (M × D) and not copied for every sample (B × K × D).

    Args:
        targets: Class of each training sample.
        count: Negatives of a sample; as many as the largest class leaves, where those are fewer.

    Raises:
        ValueError: There is only one class.
    """

    targets: Int64[Tensor, "N"]

    def __init__(self, targets: Int64[Tensor, "N"], count: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"the number of negatives is {count}; it must be at least 1")
        largest = int(torch.bincount(targets).max())
        self.count = min(count, len(targets) - largest)
        if self.count < 1:
            raise ValueError(
                f"all {len(targets)} training samples are of one class; negatives are samples of"
                " other classes, so the data needs two or more"
            )
        self.drawn = min(self.count + largest, len(targets))
        self.register_buffer("targets", targets.clone(), persistent=False)

    @torch.no_grad()
    def draw(self, target: Int64[Tensor, "B"]) -> tuple[Int64[Tensor, "M"], Bool[Tensor, "B M"]]:
        """Returns M positions in the training set and which `count` of them each sample takes."""
        order = torch.randperm(len(self.targets), device=self.targets.device)[: self.drawn]
        other = self.targets[order] != target[:, None]
        return order, other & (other.cumsum(1) <= self.count)

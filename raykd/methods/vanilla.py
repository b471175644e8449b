"""The student alone: cross-entropy with the labels, no teacher."""

import torch.nn.functional as F
from torch import Tensor

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.models import Output


class Vanilla(Method):
    """Trains the student on the labels alone: the baseline without a teacher."""

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross-entropy in nats, the mean over the batch."""
        return {"ce": F.cross_entropy(s.logits, batch.target)}

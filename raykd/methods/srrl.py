"""Softmax Regression Representation Learning (Yang et al., ICLR 2021).

Knowledge Distillation via Softmax Regression Representation Learning.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.maps import last_map
from raykd.methods.method import Method
from raykd.models import Output
from raykd.modules.frozen import Frozen
from raykd.modules.regressor import BatchNorm2d


def feature_matching_loss(
    h_s: Float[Tensor, "B D"], h_t: Float[Tensor, "B D"]
) -> Float[Tensor, ""]:
    """Returns L_FM = ‖h_t − r(h_s)‖² (equation 1), averaged over features too, as in the code."""
    return F.mse_loss(h_s, h_t)


def cross_entropy_sr_loss(q: Float[Tensor, "B K"], p: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Returns L_SR = −Σ softmax(p) log softmax(q) in nats (equations 2 and 3), from logits."""
    return F.cross_entropy(q, p.softmax(1))


def logit_mse_sr_loss(q: Float[Tensor, "B K"], p: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Returns L_SR as in the authors' code: the mean squared difference of the logits."""
    return F.mse_loss(q, p)


CLASSIFIERS = {"logit_mse": logit_mse_sr_loss, "cross_entropy": cross_entropy_sr_loss}
"""Loss functions of the classifier term, by the value of the hyperparameter `classifier`."""


class SRRL(Method):
    """Matches the teacher's features, and its logits when its head reads the student's features.

    The connector carries the student's last map to the teacher's width by a 1 × 1 convolution,
    batch norm and ReLU; the mean over space is compared with the teacher's pooled features. The
    teacher's head stays frozen.

    Args:
        alpha: Weight of the feature matching; 1 in the authors' code.
        beta: Weight of the classifier term; 1 in the authors' code for "logit_mse", assumed for
            "cross_entropy".
        classifier: Loss of the classifier term: "logit_mse" as in the code, or "cross_entropy" as
            in the paper.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        classifier: str = "logit_mse",
    ) -> None:
        super().__init__(s, t)
        if classifier not in CLASSIFIERS:
            raise ValueError(
                f"classifier is {classifier!r}; it must be one of {', '.join(CLASSIFIERS)}"
            )
        self.alpha = alpha
        self.beta = beta
        self.sr_loss = CLASSIFIERS[classifier]
        d_t = t.pooled.shape[1]
        convolution = nn.Conv2d(last_map("student", s).shape[1], d_t, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        self.connector = nn.Sequential(convolution, BatchNorm2d(d_t), nn.ReLU())
        self.head: Frozen | None = None

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Keeps the teacher's head, which the method runs and never trains.

        Raises:
            ValueError: The teacher has no module called `head`.
        """
        head = getattr(teacher, "head", None)
        if not isinstance(head, nn.Module):
            raise ValueError(
                f"{type(teacher).__name__}.head is {head!r}; SRRL needs the teacher's classifier"
                " there, as a module from `Output.pooled` to `Output.logits`"
            )
        self.head = Frozen(head)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats), `fm` and `sr` (equation 5)."""
        assert self.head is not None, "prepare comes before forward"
        h_s = self.connector(s.stages[-1]).mean((2, 3))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "fm": self.alpha * feature_matching_loss(h_s, t.pooled),
            "sr": self.beta * self.sr_loss(self.head(h_s), t.logits),
        }

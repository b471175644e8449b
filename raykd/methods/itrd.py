"""Information Theoretic Representation Distillation (Miles et al., BMVC 2022)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.methods.unit import bounded, has_direction, unit
from raykd.models import Output


def correlation_loss(
    z_s: Float[Tensor, "B D"], z_t: Float[Tensor, "B D"], alpha: float
) -> Float[Tensor, ""]:
    """Returns L_corr = log2 Σ_i |v_i − 1|^(2α) in bits (equation 6).

    v is the diagonal of the correlation matrix. Features are standardised over the batch with the
    unbiased deviation and v is divided by B, as in the official code, so v is at most (B − 1)/B
    and the loss at least log2 D − 2α log2 B. A feature without variance counts as uncorrelated (v =
    0), and one that hardly varies beside the others gets little gradient, see `bounded`.
    """
    v = (_standardise(_bounded(z_s)) * _standardise(z_t)).sum(0) / len(z_s)
    return _log_distance(v, alpha)


def mutual_information_loss(
    z_s: Float[Tensor, "B Ds"], z_t: Float[Tensor, "B Dt"]
) -> Float[Tensor, ""]:
    """Returns L_mi = ‖G_s‖² − ‖G_st‖² (equation 9 without logarithms, as the paper's text has it).

    G_s is the Gram matrix of the unit rows of z_s, G_st its Hadamard product with the teacher's,
    each divided by its trace. The value lies in [0, 1 − 1/B].
    """
    z_s, z_t = unit(z_s), unit(z_t)
    g_s = z_s @ z_s.T
    g_st = g_s * (z_t @ z_t.T)
    return _over_trace(g_s).square().sum() - _over_trace(g_st).square().sum()


class TeacherSide(NamedTuple):
    """Tensors of the teacher that both losses need, the same for every student of a cohort."""

    standardised: Float[Tensor, "B D"]
    squared_gram: Float[Tensor, "B B"]
    has_direction: Bool[Tensor, "B"]


def teacher_side(z_t: Float[Tensor, "B D"]) -> TeacherSide:
    """Computes the teacher's side of the closed forms."""
    rows = unit(z_t)
    return TeacherSide(_standardise(z_t), (rows @ rows.T).square(), has_direction(z_t))


def correlation_loss_closed(
    z_s: Float[Tensor, "B D"], teacher: TeacherSide, alpha: float
) -> Float[Tensor, ""]:
    """Returns `correlation_loss`; the student's deviation is taken out of the sum over samples."""
    z_s = _bounded(z_s)
    centred = z_s - z_s.mean(0)
    v = (centred * teacher.standardised).sum(0) / (_deviation(z_s) * len(z_s))
    return _log_distance(v, alpha)


def mutual_information_loss_closed(
    z_s: Float[Tensor, "B D"], teacher: TeacherSide
) -> Float[Tensor, ""]:
    """Returns `mutual_information_loss`, with the traces written out.

    Unit rows have a trace of B, so the loss is Σ_ij (1 − cos²(t_i, t_j)) (s_i · s_j)² / B²: the
    first factor is the teacher's alone. A row without direction adds nothing to either trace.
    """
    rows = unit(z_s)
    squared = (rows @ rows.T).square()
    alive = has_direction(z_s)
    trace_s = alive.sum().clamp_min(1)
    trace_st = (alive & teacher.has_direction).sum().clamp_min(1)
    joint = (squared * teacher.squared_gram).sum()
    return squared.sum() / trace_s**2 - joint / trace_st**2


class ITRD(Method):
    """Matches correlation over features and mutual information over samples of pooled features.

    A linear embedding carries the student's features to the teacher's width: always for the
    correlation, and for the mutual information only where the widths differ (one embedding serves
    both). Training uses the closed forms, whose teacher side a cohort shares.

    Args:
        alpha: Exponent of the correlation loss, above 0.5, since the gradient is infinite
            below. Published: 1.01 where both networks are of one architecture, 1.50 otherwise.
        beta_corr: Weight of the correlation loss; the published value.
        beta_mi: Weight of the mutual information loss; the published value (the code's own default
            is 0.05).
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        alpha: float = 1.01,
        beta_corr: float = 2.0,
        beta_mi: float = 1.0,
    ) -> None:
        super().__init__(s, t)
        if alpha <= 0.5:
            raise ValueError(
                f"alpha is {alpha}; it must be above 0.5, where the gradient at full correlation"
                " is finite (the paper uses 1.01 and 1.50)"
            )
        self.alpha = alpha
        self.beta_corr = beta_corr
        self.beta_mi = beta_mi
        d_s, d_t = s.pooled.shape[1], t.pooled.shape[1]
        self.embed = nn.Linear(d_s, d_t)
        self.same_width = d_s == d_t

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats), `corr` (bits; may be negative) and `mi` (equation 10)."""
        teacher = t.once("itrd", lambda: teacher_side(t.pooled))
        embedded = self.embed(s.pooled)
        z_s = s.pooled if self.same_width else embedded
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "corr": self.beta_corr * correlation_loss_closed(embedded, teacher, self.alpha),
            "mi": self.beta_mi * mutual_information_loss_closed(z_s, teacher),
        }


def _bounded(z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    return bounded(z, z.detach().std(0, correction=0, keepdim=True))


def _standardise(z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    return (z - z.mean(0)) / _deviation(z)


def _deviation(z: Float[Tensor, "B D"]) -> Float[Tensor, "D"]:
    """Returns the unbiased deviation, or 1 if a feature varies no more than its mean is rounded."""
    variance = z.var(0, correction=min(1, len(z) - 1))
    rounding = 8 * torch.finfo(z.dtype).eps * z.detach().abs().amax(0)
    return torch.where(variance > rounding.square(), variance, 1.0).sqrt()


def _log_distance(v: Float[Tensor, "D"], alpha: float) -> Float[Tensor, ""]:
    return (v - 1).square().pow(alpha).sum().log2()


def _over_trace(gram: Float[Tensor, "B B"]) -> Float[Tensor, "B B"]:
    trace = gram.trace()
    return gram / torch.where(trace > 0, trace, 1.0)

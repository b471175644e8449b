"""Factor Transfer (Kim, Park and Kwak, NeurIPS 2018).

Paraphrasing Complex Network: Network Compression via Factor Transfer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.maps import common_size, last_map, pooled_to
from raykd.methods.method import Method
from raykd.methods.unit import unit
from raykd.models import Output
from raykd.modules.frozen import Frozen
from raykd.modules.regressor import BatchNorm2d

FACTORS = ("spatial", "whole")
"""Values that the hyperparameter `factor` accepts."""


def spatial_factor(f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H*W"]:
    """Returns the CRD benchmark's factor: the mean of f² over channels, scaled to length one."""
    return unit(f.square().mean(1).flatten(1))


def whole_factor(f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C*H*W"]:
    """Returns the authors' factor: all of f, flattened and scaled to length one."""
    return unit(f.flatten(1))


def factor_loss(f_s: Float[Tensor, "B L"], f_t: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Returns L_FT with p = 1, the mean of |f_s − f_t|.

    It falls as 1 / √L, so the best beta depends on the map's size.
    """
    return F.l1_loss(f_s, f_t)


class Paraphraser(nn.Module):
    """Autoencoder of the teacher's last map: `encoder` gives the factor, `decoder` the map again.

    It has no batch norm, as in the authors' code and in the CRD benchmark.
    """

    def __init__(self, c_t: int, c_f: int) -> None:
        super().__init__()
        self.encoder = _encoder(c_t, c_f, norm=False)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(c_f, c_f, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(c_f, c_t, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(c_t, c_t, 3, padding=1),
            nn.LeakyReLU(0.1),
        )

    def forward(self, f_t: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Returns the reconstructed map."""
        reconstruction: Tensor = self.decoder(self.encoder(f_t))
        return reconstruction


class FT(Method):
    """Matches factors of the last maps: a frozen paraphraser's (teacher), a translator's (student).

    The paraphraser is trained before the students, by reconstruction (mean squared error, as in the
    paper and the CRD benchmark; the authors' code has the absolute error). It is an artefact: it
    costs `paraphraser_epochs` epochs of teacher passes once. The larger factor is averaged to the
    size of the smaller. The translator has batch norm as in the CRD benchmark.

    Args:
        beta: Weight of the factor loss; 200 in the CRD benchmark (500 in the authors' code, with
            the whole factor).
        k: Ratio of the factor's channels to those of the teacher's map; 0.5 in both codes.
        factor: "spatial" as in the CRD benchmark, or "whole" as in the authors' code.
        paraphraser_epochs: Number of epochs of the paraphraser; 30 in the CRD benchmark.
        paraphraser_lr: Learning rate of the paraphraser's SGD, which has momentum 0.9 and weight
            decay 5e-4; 0.01 in the CRD benchmark for ResNets.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        beta: float = 200.0,
        k: float = 0.5,
        factor: str = "spatial",
        paraphraser_epochs: int = 30,
        paraphraser_lr: float = 0.01,
    ) -> None:
        super().__init__(s, t)
        if factor not in FACTORS:
            raise ValueError(f"factor is {factor!r}; it must be one of {', '.join(FACTORS)}")
        if k <= 0:
            raise ValueError(f"k is {k}; it must be above 0 (the paper uses 0.5)")
        if paraphraser_epochs < 1:
            raise ValueError(f"paraphraser_epochs is {paraphraser_epochs}; it must be at least 1")
        f_s, f_t = last_map("student", s), last_map("teacher", t)
        self.beta = beta
        self.factor = spatial_factor if factor == "spatial" else whole_factor
        self.channels = (f_t.shape[1], max(1, round(k * f_t.shape[1])))
        self.stage: dict[str, Any] = {"k": k, "epochs": paraphraser_epochs, "lr": paraphraser_lr}
        self.key = f"ft/{self.stage}/{factor}"
        self.translator = _encoder(f_s.shape[1], self.channels[1], norm=True)
        self.paraphraser: Frozen | None = None

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Loads the paraphraser, and trains it if no earlier trial has done so."""
        state = artefact("ft_paraphraser", self.stage, lambda: self._learn(teacher, data))
        like = next(self.translator.parameters())
        encoder = _encoder(*self.channels, norm=False).to(like)
        encoder.load_state_dict(state)
        self.paraphraser = Frozen(encoder)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `factor`."""
        f_s, f_t = last_map("student", s), last_map("teacher", t)
        size = common_size(f_s, f_t)
        factor_t = t.once(f"{self.key}/{size}", lambda: self._teacher_factor(f_t, size))
        factor_s = self.factor(pooled_to(self.translator(f_s), size))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "factor": self.beta * factor_loss(factor_s, factor_t),
        }

    def _teacher_factor(self, f_t: Tensor, size: tuple[int, int]) -> Tensor:
        assert self.paraphraser is not None, "prepare comes before forward"
        with torch.no_grad():
            return self.factor(pooled_to(self.paraphraser(f_t), size))

    def _learn(self, teacher: nn.Module, data: Data) -> dict[str, Tensor]:
        like = next(self.translator.parameters())
        with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
            torch.manual_seed(0)
            paraphraser = Paraphraser(*self.channels).to(like)
        optimizer = torch.optim.SGD(
            paraphraser.parameters(), lr=self.stage["lr"], momentum=0.9, weight_decay=5e-4
        )
        for epoch in range(self.stage["epochs"]):
            for batch in data.train(epoch):
                with torch.no_grad():
                    f_t = last_map("teacher", teacher(batch.input)).to(like)
                optimizer.zero_grad()
                F.mse_loss(paraphraser(f_t), f_t).backward()
                optimizer.step()
        return paraphraser.encoder.state_dict()


def _encoder(c_in: int, c_out: int, *, norm: bool) -> nn.Sequential:
    """Returns three 3 × 3 convolutions; the second changes the channels to `c_out`."""
    layers: list[nn.Module] = []
    for a, b in ((c_in, c_in), (c_in, c_out), (c_out, c_out)):
        layers.append(nn.Conv2d(a, b, 3, padding=1))
        if norm:
            layers.append(BatchNorm2d(b))
        layers.append(nn.LeakyReLU(0.1))
    return nn.Sequential(*layers)

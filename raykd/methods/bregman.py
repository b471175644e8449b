"""Layerwise Bregman Representation Learning (Amid et al., TMLR 2023), applied to distillation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.maps import common_size, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.models import Output
from raykd.modules.bregman_layer import BregmanLayer
from raykd.modules.bregman_pca import BregmanPCA
from raykd.modules.frozen import Frozen
from raykd.modules.transfer import transfer as find_transfer

ROWS = 20_000
"""Number of a layer's outputs that are fitted: samples, or map positions spread over samples."""


@dataclass(frozen=True)
class Layer:
    """A layer of the teacher whose outputs are represented by coefficients.

    Attributes:
        name: "logits", "pooled" or "stage_<i>", counted from 1.
        rank: Number of coefficients.
        transfer: Name of its transfer function.
        width: Number of the layer's features.
        student: Number of the student's features from which the coefficients are predicted.
    """

    name: str
    rank: int
    transfer: str
    width: int
    student: int


class Bregman(Method):
    """Trains the student to predict coefficients of the teacher's layers for imported layers.

    Each represented layer is fitted once by `BregmanPCA` (an artefact, shared by all trials with
    its rank) and imported as a fixed layer f(m + V ĉ). A linear head on the student's pooled
    features (a 1 × 1 convolution on its partner stage) predicts the coefficients ĉ. The paper's
    student ends in the imported layer. Here the student also keeps its own classifier, trained by
    `ce`, and the plain network is what is evaluated. The paper's exact objective is not known: the
    losses follow from its abstract, and all weights and ranks are assumed.

    A step takes O(batch · positions · (width + rank²)) beyond the activations.

    Args:
        rank_logits: Number of coefficients of the logits, under softmax; at most K − 1 for K
            classes, and by default 16 or K − 1 if that is less. For every `rank_…`, 0 leaves the
            layer out.
        rank_pooled: Number of coefficients of the pooled features.
        rank_stage_1: Number of coefficients at each position of the teacher's first stage.
        rank_stage_2: The same for its second stage.
        rank_stage_3: The same for its third stage.
        rank_stage_4: The same for its fourth stage.
        rank_stage_5: The same for its fifth stage.
        transfer: Transfer function of the pooled features and the stages: "relu" (an extension of
            the paper, for features of 0 and more) or "identity" (any features).
        mean: Mean of the fit (see `BregmanPCA`): "dual" as in the paper, or "joint" (ours).
        match: Weight of the divergence of the imported layer's outputs from the teacher's.
        coef: Weight of half the squared distance to the teacher's coefficients. Coefficients
            are in the tens for the logits of a confident teacher: search this from 0.001 up.
        head: Weight of the cross-entropy behind the imported logits, and behind the imported
            pooled features and the teacher's frozen head.
        gamma: Weight of the cross-entropy of the student's own classifier.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        rank_logits: int | None = None,
        rank_pooled: int = 0,
        rank_stage_1: int = 0,
        rank_stage_2: int = 0,
        rank_stage_3: int = 0,
        rank_stage_4: int = 0,
        rank_stage_5: int = 0,
        transfer: str = "relu",
        mean: str = "dual",
        match: float = 1.0,
        coef: float = 0.0,
        head: float = 1.0,
        gamma: float = 1.0,
    ) -> None:
        super().__init__(s, t)
        find_transfer(transfer)
        if mean not in ("dual", "joint"):
            raise ValueError(f"mean is {mean!r}; it must be 'dual' or 'joint'")
        if min(match, coef, head) < 0 or match == coef == head == 0:
            raise ValueError(
                f"match={match}, coef={coef}, head={head}: no weight may be below 0, and one must"
                " be above it for the imported layers to be learnt from"
            )
        k, d_t, d_s = t.logits.shape[1], t.pooled.shape[1], s.pooled.shape[1]
        rank_logits = min(16, k - 1) if rank_logits is None else rank_logits
        stages = (rank_stage_1, rank_stage_2, rank_stage_3, rank_stage_4, rank_stage_5)
        self.layers = [
            Layer("logits", rank_logits, "softmax", k, d_s),
            Layer("pooled", rank_pooled, transfer, d_t, d_s),
            *_stage_layers(s, t, stages, transfer),
        ]
        self.layers = [layer for layer in self.layers if layer.rank != 0]
        for layer in self.layers:
            _check_rank(layer)
        if not self.layers:
            raise ValueError("every rank is 0; at least one layer must be represented")
        self.mean, self.match, self.coef, self.head, self.gamma = mean, match, coef, head, gamma
        self.found: dict[str, float] = {}
        self.predict = nn.ModuleList(nn.Linear(one.student, one.rank) for one in self.layers)
        self.imported = nn.ModuleList(
            BregmanLayer(
                torch.zeros(one.width),
                torch.zeros(one.width, one.rank),
                find_transfer(one.transfer),
            )
            for one in self.layers
        )

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Imports the teacher's layers, and fits those that no earlier trial has fitted.

        Raises:
            ValueError: A layer's outputs are out of its transfer function's range, or it has too
                few features that vary for its rank.
        """
        self.teacher_head = Frozen(cast(nn.Module, teacher.head))
        for layer, imported in zip(self.layers, self.imported, strict=True):
            try:
                fit = _fit(layer, layer.rank, self.mean, teacher, data, artefact)
            except ValueError as error:
                raise ValueError(f"layer {layer.name} of the teacher: {error}") from error
            imported.load_state_dict({key: fit[key] for key in ("mean", "components")})
            self.found[f"reconstruction_{layer.name}"] = fit["loss"].item()
            if not fit.get("converged", True):  # artefacts of earlier versions lack it
                self.found[f"unconverged_{layer.name}"] = 1.0

    def facts(self) -> dict[str, float]:
        """Returns `reconstruction_<layer>` of each fit, and `unconverged_<layer>` of some.

        `reconstruction_<layer>` is the mean divergence of the outputs that were fitted: in nats
        for the logits; for pooled features and stages the sum over the features, which is half the
        squared error where the transfer function is the identity. `unconverged_<layer>` is 1 for a
        fit that was stopped by its limit of iterations, and absent for others.
        """
        return self.found

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce`, and those of `match`, `coef` and `head` whose weight is not 0.

        `match` is the divergence, averaged over samples (and positions) and summed over layers. It
        is in nats for the logits; for pooled features and stages it is averaged over features too
        (ours), which brings them to the scale of the logits. `coef` is ½|ĉ − c|², averaged over
        samples (and positions) and summed over layers. `head` is the mean
        cross-entropy over the layers that lead to logits.
        """
        match, coef, head = [], [], []
        for i, layer in enumerate(self.layers):
            imported = cast(BregmanLayer, self.imported[i])
            x, y = _rows(layer.name, s, t)
            c: Tensor = self.predict[i](x)
            features = 1 if layer.name == "logits" else layer.width
            match.append(imported.loss(c, y).mean() / features)
            if self.coef:
                c_t = self._teacher_coefficients(i, t, y).to(c)
                coef.append((c - c_t).square().sum(1).mean() / 2)
            if self.head and not layer.name.startswith("stage"):
                theta = imported.preactivation(c)
                if layer.name == "pooled":
                    theta = self.teacher_head(imported.transfer.f(theta))
                head.append(F.cross_entropy(theta, batch.target))
        terms = {"ce": self.gamma * F.cross_entropy(s.logits, batch.target)}
        for name, weight, values in (
            ("match", self.match, match),
            ("coef", self.coef, coef),
            ("head", self.head / max(1, len(head)), head),
        ):
            if weight and values:
                terms[name] = weight * torch.stack(values).sum()
        return terms

    def _teacher_coefficients(self, i: int, t: Output, y: Float[Tensor, "N D"]) -> Tensor:
        imported = cast(BregmanLayer, self.imported[i])
        key = f"bregman {self.layers[i]} {self.mean} {len(y)}"
        return t.once(key, lambda: imported.encode(y))


def _stage_layers(s: Output, t: Output, ranks: tuple[int, ...], transfer: str) -> list[Layer]:
    if not any(ranks):
        return []
    pairs = stage_pairs(s, t)
    layers = []
    for i, rank in enumerate(ranks):
        place = i - (len(t.stages) - len(pairs))
        if rank == 0:
            continue
        if not 0 <= place < len(pairs):
            first = len(t.stages) - len(pairs) + 1
            raise ValueError(
                f"rank_stage_{i + 1} is {rank}, but the teacher's stages that have a partner in"
                f" the student are {first} to {len(t.stages)}; set it to 0"
            )
        f_s, f_t = pairs[place]
        layers.append(Layer(f"stage_{i + 1}", rank, transfer, f_t.shape[1], f_s.shape[1]))
    return layers


def _check_rank(layer: Layer) -> None:
    most = layer.width - (layer.transfer == "softmax")
    if not 1 <= layer.rank <= most:
        raise ValueError(
            f"rank_{layer.name} is {layer.rank}; {layer.width} features under {layer.transfer}"
            f" allow 1 to {most}, and 0 leaves the layer out"
        )


def _rows(name: str, s: Output, t: Output) -> tuple[Float[Tensor, "N S"], Float[Tensor, "N D"]]:
    """Returns the student's features and the teacher's outputs of a layer, a row per position."""
    if name == "logits":
        return s.pooled, t.logits.softmax(1)
    if name == "pooled":
        return s.pooled, t.pooled
    pairs = stage_pairs(s, t)
    f_s, f_t = pairs[int(name[-1]) - 1 - len(t.stages)]
    size = common_size(f_s, f_t)
    f_s, f_t = pooled_to(f_s, size), pooled_to(f_t, size)
    return f_s.movedim(1, -1).flatten(0, 2), f_t.movedim(1, -1).flatten(0, 2)


def _fit(
    layer: Layer, rank: int, mean: str, teacher: nn.Module, data: Data, artefact: Artefact
) -> dict[str, Tensor]:
    """Returns the layer's fit: `mean` and `components` in float64, `loss` and `converged`.

    Each fit starts from that of the next smaller power of two, so that studies of different ranks
    share their fits and the loss falls along that chain.
    """
    config: dict[str, Any] = {"layer": layer.name, "transfer": layer.transfer, "rows": ROWS}

    def make() -> dict[str, Tensor]:
        y = artefact("bregman_outputs", config, lambda: _outputs(layer, teacher, data))["y"]
        y, start = y.to(next(teacher.parameters()).device), None
        if rank > 1:
            smaller = 2 ** ((rank - 1).bit_length() - 1)
            fit = _fit(layer, smaller, mean, teacher, data, artefact)
            transfer = find_transfer(layer.transfer)
            start = BregmanLayer(fit["mean"], fit["components"], transfer).to(y.device)
        pca = BregmanPCA(rank, layer.transfer, mean).fit(y, start)
        numbers = {"loss": pca.loss_, "converged": float(pca.converged_)}
        quality = {name: torch.tensor(x, dtype=torch.float64) for name, x in numbers.items()}
        return {"mean": pca.mean_, "components": pca.components_.T, **quality}

    return artefact("bregman", {**config, "rank": rank, "mean": mean}, make)


@torch.no_grad()
def _outputs(layer: Layer, teacher: nn.Module, data: Data) -> dict[str, Tensor]:
    """Returns the layer's outputs on training samples, in the order of the first epoch."""
    positions = max(1, ROWS // len(data))
    rows: list[Tensor] = []
    for batch in data.train(0):
        output: Output = teacher(batch.input)
        y = _layer(layer.name)(output)
        every = max(1, y.shape[1] // positions)
        rows.append(y[:, ::every].flatten(0, 1))
        if sum(map(len, rows)) >= ROWS:
            break
    return {"y": torch.cat(rows)[:ROWS]}


def _layer(name: str) -> Callable[[Output], Float[Tensor, "B P D"]]:
    """Returns a function that reads a layer's outputs at its P positions."""
    if name == "logits":
        return lambda output: output.logits.softmax(1)[:, None]
    if name == "pooled":
        return lambda output: output.pooled[:, None]
    return lambda output: output.stages[int(name[-1]) - 1].flatten(2).movedim(1, -1)

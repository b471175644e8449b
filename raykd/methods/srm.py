"""Knowledge Distillation by Sparse Representation Matching (Tran, Gabbouj and Iosifidis, 2021)."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.kd import kd_loss
from raykd.methods.maps import Map, common_size, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.models import Output

RATES = ((0.1, 1e-3), (0.7, 1e-4), (1.0, 1e-5))
"""Adam's learning rates for a dictionary: pairs (share of epochs up to which it holds, rate).

Of 100 epochs, 10, 60 and 30 have the first, second and third rate.
"""


class Dictionary(nn.Module):
    """Dictionary of M atoms with D features and one intercept; the same atoms encode and decode.

    Args:
        features: Number D of features: the channels of the map.
        atoms: Number M of atoms.
        seed: Seed of the initial atoms (Kaiming uniform) and intercept (uniform in [−1, 1]);
            without one, torch's global generator is used.
    """

    def __init__(self, features: int, atoms: int, seed: int | None = None) -> None:
        super().__init__()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        bound = (6 / atoms) ** 0.5  # Kaiming uniform of a (D, M) matrix: its fan is M
        self.atoms = nn.Parameter(
            torch.empty(features, atoms).uniform_(-bound, bound, generator=generator)
        )
        self.intercept = nn.Parameter(torch.empty(()).uniform_(-1, 1, generator=generator))

    def score(self, x: Float[Tensor, "B D H W"]) -> Float[Tensor, "B M H W"]:
        """Returns dᵀx + c for each atom d at each position, with the intercept c."""
        return torch.einsum("bdhw,dm->bmhw", x, self.atoms) + self.intercept

    def code(self, x: Float[Tensor, "B D H W"], kept: int) -> Float[Tensor, "B M H W"]:
        """Returns the sigmoids of the scores where they are among the `kept` largest, else 0.

        Ties with the last one kept are kept too, as in the published code.
        """
        similarity = self.score(x).sigmoid()
        least = similarity.topk(kept, dim=1).values[:, -1:]
        return similarity * (similarity >= least)

    def reconstruct(self, x: Float[Tensor, "B D H W"], kept: int) -> Float[Tensor, "B D H W"]:
        """Returns the features that are reconstructed from the sparse code."""
        return torch.einsum("bmhw,dm->bdhw", self.code(x, kept), self.atoms)


def pixel_loss(
    score: Float[Tensor, "B M H W"], label: Int64[Tensor, "B H W"], logits: str
) -> Float[Tensor, ""]:
    """Returns the cross-entropy with the most similar atom at each position, in nats.

    `logits="sigmoid"` takes the similarities themselves as logits, as the published code does: the
    loss is then at least ln(1 + (M − 1)/e). `"linear"` takes the scores.
    """
    return F.cross_entropy(score.sigmoid() if logits == "sigmoid" else score, label)


def image_loss(score: Float[Tensor, "B M H W"], label: Float[Tensor, "B M"]) -> Float[Tensor, ""]:
    """Returns the binary cross-entropy of the mean similarity with the mean sparse code.

    It is in nats per atom, computed by `torch.nn.functional.binary_cross_entropy`, whose logarithms
    are at least −100. That function refuses numbers that are not finite, on a GPU with an error
    that ends the process; here such numbers make the loss NaN, as in any other loss.
    """
    mean = score.sigmoid().mean((2, 3))
    diverged = 0 * (mean + label).sum()
    loss = F.binary_cross_entropy(mean.nan_to_num(0.5), label.nan_to_num(0.5))
    return loss + diverged


class SRM(Method):
    """Trains on sparse codes of the teacher's stages first, and on its soft labels then.

    There are three phases. First, dictionaries are trained once on the teacher's maps and kept as
    an artefact. Second, for the share `matching` of the training, the student is trained on their
    labels, at every stage that has a partner, without its classifier. Third, it is trained on soft
    labels and the classes; the heads of the second phase are idle. Published runs restart the
    learning rate for the third phase and begin it with the best student of the second; here one
    schedule runs through both, and the third goes on with the last student of the second.

    A teacher's map that is larger than the student's is pooled before it is labelled; a larger
    student's map is pooled before it is encoded. A stage takes O(batch · positions · atoms), as the
    paper's method demands.

    Args:
        size: Ratio μ of the number of atoms to the teacher's channels. Published: 2 for CIFAR-100
            (from 1.5, 2 and 3), 4 for ImageNet.
        sparsity: Share ρ of the atoms that a position keeps; at least one is kept. Published: 0.02
            (from 0.01, 0.02 and 0.03).
        matching: Share of the training that is spent on matching. Published: 160 of 360 epochs for
            CIFAR-100 and 80 of 180 for ImageNet, which is 4/9 in both.
        pixel: Weight of the pixel labels; 1 is published, and 0 leaves only the image labels.
        image: Weight of the image labels; 1 is published.
        pixel_logits: Logits of the pixel loss: "sigmoid" as in the published code, or "linear".
        temperature: Temperature of the soft labels; 4 for ImageNet, else one of 2, 4 and 8.
        alpha: Weight of the soft labels, with 1 − alpha of the cross-entropy; 0.3 for ImageNet,
            chosen from 0.25, 0.5 and 0.75 for CIFAR-100.
        dictionary_epochs: Number of epochs of the dictionaries; 100 is published for CIFAR-100, at
            three learning rates.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        size: float = 2.0,
        sparsity: float = 0.02,
        matching: float = 4 / 9,
        pixel: float = 1.0,
        image: float = 1.0,
        pixel_logits: str = "sigmoid",
        temperature: float = 4.0,
        alpha: float = 0.3,
        dictionary_epochs: int = 100,
    ) -> None:
        super().__init__(s, t)
        _check(size, sparsity, matching, temperature, dictionary_epochs)
        if pixel_logits not in ("sigmoid", "linear"):
            raise ValueError(f"pixel_logits is {pixel_logits!r}; it must be 'sigmoid' or 'linear'")
        if s.logits.shape[1] != t.logits.shape[1]:
            raise ValueError(
                f"the student has {s.logits.shape[1]} classes and the teacher"
                f" {t.logits.shape[1]}; the soft labels of SRM need the same classes in both"
            )
        pairs = stage_pairs(s, t)
        self.pixel, self.image, self.pixel_logits = pixel, image, pixel_logits
        self.temperature, self.alpha, self.matching = temperature, alpha, matching
        self.epochs = dictionary_epochs
        widths = [f_t.shape[1] for _, f_t in pairs]
        self.atoms = [max(1, int(size * width)) for width in widths]
        self.kept = [max(1, int(width * size * sparsity)) for width in widths]
        self.heads = nn.ModuleList(
            Dictionary(f_s.shape[1], m) for (f_s, _), m in zip(pairs, self.atoms, strict=True)
        )
        self.config = {"size": size, "sparsity": sparsity, "epochs": dictionary_epochs}
        self.matches = matching > 0

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Loads the teacher's dictionaries, and trains them if no earlier trial has done so."""
        config = {**self.config, "stages": len(self.atoms)}

        def make() -> dict[str, Tensor]:
            return train_dictionaries(teacher, data, self.atoms, self.kept, self.epochs)

        state = artefact("srm_dictionaries", config, make)
        self.dictionaries = []  # a list, so that they are no part of the method's state
        for layer, atoms in enumerate(self.atoms):
            dictionary = Dictionary(len(state[f"{layer}.atoms"]), atoms, seed=0)
            dictionary.atoms.data = state[f"{layer}.atoms"]
            dictionary.intercept.data = state[f"{layer}.intercept"]
            head = cast(Dictionary, self.heads[layer])
            self.dictionaries.append(dictionary.requires_grad_(False).to(head.atoms))

    def schedule(self, progress: float) -> None:
        """Selects sparse codes while `progress` is below `matching`, and soft labels after."""
        self.matches = progress < self.matching

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `pixel` and `image` (summed over the stages), or `ce` and `kd`; all in nats."""
        if not self.matches:
            return {
                "ce": (1 - self.alpha) * F.cross_entropy(s.logits, batch.target),
                "kd": self.alpha * kd_loss(s.logits, t.logits, self.temperature),
            }
        pixel, image = s.logits.new_zeros(()), s.logits.new_zeros(())
        for layer, (f_s, f_t) in enumerate(stage_pairs(s, t)):
            size = common_size(f_s, f_t)
            nearest, mean = self._labels(t, layer, f_t, size)
            score = cast(Dictionary, self.heads[layer]).score(pooled_to(f_s, size))
            pixel = pixel + pixel_loss(score, nearest, self.pixel_logits)
            image = image + image_loss(score, mean)
        return {"pixel": self.pixel * pixel, "image": self.image * image}

    def _labels(
        self, t: Output, layer: int, f_t: Map, size: tuple[int, int]
    ) -> tuple[Int64[Tensor, "B H W"], Float[Tensor, "B M"]]:
        """Returns the most similar atom at each position, and the mean sparse code."""

        def make() -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                code = self.dictionaries[layer].code(pooled_to(f_t, size), self.kept[layer])
                return code.argmax(1), code.mean((2, 3))

        return t.once(f"srm {self.config} {layer} {size}", make)


def train_dictionaries(
    teacher: nn.Module, data: Data, atoms: list[int], kept: list[int], epochs: int
) -> dict[str, Tensor]:
    """Trains a dictionary for each of the teacher's last stages to reconstruct its maps.

    Adam, without weight decay, minimises the sum of their mean squared errors. The same teacher and
    data give the same dictionaries, whatever random numbers were drawn before.
    """
    count = len(atoms)
    batch = next(iter(data.train(0)))
    example = _maps(teacher, batch, count)
    dictionaries = nn.ModuleList(
        Dictionary(f.shape[1], m, seed)
        for seed, (f, m) in enumerate(zip(example, atoms, strict=True))
    ).to(example[0])
    optimizer, rate = None, 0.0
    for epoch in range(epochs):
        before, rate = rate, next(rate for until, rate in RATES if epoch + 0.5 < until * epochs)
        if optimizer is None or rate != before:  # published: Adam starts anew at each rate
            optimizer = torch.optim.Adam(dictionaries.parameters(), lr=rate)
        for batch in data.train(epoch):
            loss = example[0].new_zeros(())
            for dictionary, f, k in zip(
                dictionaries, _maps(teacher, batch, count), kept, strict=True
            ):
                loss = loss + F.mse_loss(cast(Dictionary, dictionary).reconstruct(f, k), f)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.detach() for name, tensor in dictionaries.state_dict().items()}


@torch.no_grad()
def _maps(teacher: nn.Module, batch: Batch, count: int) -> list[Map]:
    output: Output = teacher(batch.input)
    return list(output.stages[-count:])


def _check(size: float, sparsity: float, matching: float, temperature: float, epochs: int) -> None:
    if size <= 0 or not 0 < sparsity <= 1:
        raise ValueError(
            f"size={size}, sparsity={sparsity}; size must be above 0 and sparsity in (0, 1]"
        )
    if not 0 <= matching <= 1:
        raise ValueError(f"matching is {matching}; it is a share of the training, in [0, 1]")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    if epochs < 1:
        raise ValueError(f"dictionary_epochs is {epochs}; it must be at least 1")

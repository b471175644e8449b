"""A method, a network or a batch size that can't work is found before anything is trained."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import Tensor, nn

from raykd.data import Batch
from raykd.data.synthetic import Synthetic
from raykd.methods.crd import CRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.models.resnet import CifarResNet
from raykd.study import Study
from raykd.study.checks import check
from raykd.study.rehearsal import Stream

Make = Callable[..., Study]
CLOSE = partial(Synthetic, classes=4, shape=(1, 8, 8), samples=64, tests=16, validation=6 / 64)


class Returning(Vanilla):
    """Returns what a test asks for."""

    def __init__(self, s: Output, t: Output, *, what: str = "") -> None:
        super().__init__(s, t)
        self.what = what

    def forward(self, s: Output, t: Output, batch: Batch) -> Any:
        loss = super().forward(s, t, batch)["ce"]
        found: Any = {
            "tensor": loss,
            "pair": (loss, loss),
            "number": {"ce": loss, "extra": 0.5},
            "vector": {"ce": s.logits.sum(1)},
            "name": {0: loss},
            "empty": {},
            "detached": {"ce": loss.detach()},
            "nan": {"ce": loss, "odd": loss * float("nan")},
            "index": lambda: s.stages[99],
        }[self.what]
        return found() if callable(found) else found


class Many(Vanilla):
    """Needs five samples at a time, which is a good deal more than two."""

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        return {"ce": s.logits.topk(5, dim=0).values.mean()}


class Tall(nn.Module):
    """Ends in 1x1 maps with batch norm."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Output:
        pooled = self.bn(self.conv(x)).relu().flatten(1)
        return Output(self.head(pooled), (pooled[..., None, None],), pooled)


class Moody(CifarResNet):
    """Breaks in training only."""

    def forward(self, x: Tensor) -> Output:
        if self.training:
            raise LookupError("no such key")
        return super().forward(x)


def complaint(study: Study) -> str:
    with pytest.raises(ValueError, match=r"\w") as told:
        check(study)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("tensor", "returns a Tensor"),
        ("pair", "returns a tuple"),
        ("number", "returns 'extra' as a float, which is no tensor"),
        ("vector", "returns 'ce' of shape (16,); reduce it"),
        ("name", "returns a term named 0"),
        ("empty", "returns no terms, without a gradient"),
        ("detached", "returns 'ce', without a gradient"),
    ],
)
@pytest.mark.parametrize("place", ["method", "reference", "sum"])
def test_forward_must_return_a_dict_of_scalar_terms(
    study: Make, what: str, words: str, place: str
) -> None:
    bad = partial(Returning, what=what)
    if place == "sum" and what in ("empty", "detached"):
        return  # its other part has a loss
    changes: dict[str, Any] = {
        "method": {"method": bad, "space": {}, "trials": 1},
        "reference": {"references": (bad,)},
        "sum": {"references": (KD + bad,)},
    }[place]
    text = complaint(study(**changes))
    name = "kd+returning" if place == "sum" else "returning"
    assert f"the method {name} can't be trained with its defaults: " in text
    assert "forward must return a dict of scalar terms, such as {'ce': loss}" in text
    assert f"{__file__}:{Returning.forward.__code__.co_firstlineno}" in text
    assert words in text


def test_an_exception_or_a_term_that_is_not_finite(study: Make) -> None:
    text = complaint(study(references=(partial(Returning, what="index"),)))
    assert "the method returning can't be trained with its defaults: IndexError" in text
    assert f"{__file__}:" in text
    text = complaint(study(references=(partial(Returning, what="nan"),)))
    assert "loss_odd is nan on made-up images" in text
    text = complaint(study(student=partial(Moody, 1, (4, 4, 4, 4))))
    assert "the student can't be trained with its defaults: LookupError: no such key" in text
    text = complaint(study(teacher=partial(Moody, 1, (4, 4, 4, 4))))
    assert "the teacher can't be trained with its defaults" in text


def test_what_a_network_did_is_not_the_methods_fault(study: Make) -> None:
    class Asking(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            raise ConnectionResetError("the feature server went away")

    check(study(references=(Asking,)))


def test_a_constructor_that_raises_anything(study: Make) -> None:
    class Unmade(Vanilla):
        def __init__(self, s: Output, t: Output) -> None:
            raise KeyError("stages")

    text = complaint(study(references=(Unmade,)))
    assert text.startswith("the method unmade can't be made with its defaults: KeyError: 'stages'")


def test_a_method_may_need_more_samples_than_two(study: Make) -> None:
    check(study(references=(Many,)))
    text = complaint(study(references=(Many,), data=CLOSE, batch_size=9))  # 58 = 6 · 9 + 4
    assert "the method many can't learn from 4 samples at a time" in text
    assert "58 training samples in batches of 9 leave so few" in text
    assert text.endswith("choose another batch size, such as 10")


def test_what_must_be_prepared_is_made_and_not_tried(study: Make) -> None:
    class Prepared(Returning):
        def prepare(self, *_: Any) -> None:
            self.what = "tensor"

    check(study(references=(Prepared, CRD, CRD + KD)))
    text = complaint(study(references=(CRD + partial(Returning, what="tensor"),)))
    assert "the method returning can't" in text or "returns a Tensor" in text


def test_a_last_batch_of_one(study: Make) -> None:
    data = partial(CLOSE, samples=65, validation=16 / 65)  # 49 = 3 · 16 + 1
    text = complaint(study(student=Tall, data=data, references=()))
    assert "the student can't learn from 1 sample at a time, and 49 training samples" in text
    assert "Expected more than 1 value per channel" in text
    assert text.endswith("choose another batch size, such as 15")
    text = complaint(study(teacher=Tall, data=data))
    assert text.startswith("the teacher can't learn from 1 sample")
    check(study(student=Tall, teacher=Tall, data=data, batch_size=15, references=()))
    check(study(data=data, references=()))  # a network without 1x1 maps learns from one


@pytest.mark.parametrize(
    ("stream", "sizes", "another"),
    [
        (Stream(33, 16), {16, 1}, 15),
        (Stream(32, 16), {16}, 16),
        (Stream(35, 16, worlds=(1, 2)), {16, 8, 3, 1}, 15),
        (Stream(32, 16, parts=9), {1}, 32),
        (Stream(1, 1), {1}, None),
    ],
)
def test_how_few_samples_come_at_a_time(stream: Stream, sizes: set[int], another: int) -> None:
    assert stream.sizes() == sizes
    assert stream.another(2) == another

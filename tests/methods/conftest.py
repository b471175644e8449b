"""Small networks, outputs and data for the tests of methods."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from raykd.data import Batch
from raykd.models import Output

STUDENT = {"widths": (4, 6, 8), "sizes": (8, 4, 2)}
TEACHER = {"widths": (5, 7, 9, 12), "sizes": (10, 8, 6, 4)}
CLASSES = 5


class TinyNet(nn.Module):
    """Convolution, batch norm and ReLU a stage, at any widths and sizes."""

    def __init__(self, widths, sizes, classes=CLASSES, in_channels=3):
        super().__init__()
        channels = (in_channels, *widths)
        pairs = list(pairwise(channels))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.sizes = sizes
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x):
        stages, preacts = [], []
        for conv, norm, size in zip(self.convs, self.norms, self.sizes, strict=True):
            preacts.append(norm(conv(nn.functional.adaptive_avg_pool2d(x, size))))
            x = preacts[-1].relu()
            stages.append(x)
        pooled = x.mean((2, 3))
        return Output(self.head(pooled), tuple(stages), pooled, tuple(preacts))


class TinyData:
    """Random images in memory, in the shape of `raykd.data.Data`."""

    def __init__(self, n=32, batch_size=8, classes=CLASSES, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        self.classes, self.shape, self.batch_size = classes, (3, 12, 12), batch_size
        self.targets = torch.arange(n) % classes
        self.inputs = torch.rand(n, *self.shape, generator=generator).to(dtype) * 2 - 1

    def __len__(self):
        return len(self.targets)

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(epoch))
        for index in order.split(self.batch_size):
            yield self.batch(index)

    def batch(self, index: Tensor) -> Batch:
        return Batch(index, self.inputs[index], self.targets[index])

    def validation(self) -> Iterator[Batch]:
        yield self.batch(torch.arange(self.batch_size))

    def test(self) -> Iterator[Batch]:
        yield self.batch(torch.arange(self.batch_size))

    def describe(self):
        return {"name": "tiny", "n": len(self)}


def make_net(seed: int, dtype=torch.float32, **shape) -> TinyNet:
    torch.manual_seed(seed)
    return TinyNet(**shape).to(dtype)


def make_now(kind, config, make):
    """An `Artefact` that keeps nothing."""
    return make()


@pytest.fixture
def artefact():
    return make_now


@pytest.fixture
def tiny_net() -> Callable[..., TinyNet]:
    """Makes a network from a seed, the stages' widths and their sizes."""
    return make_net


@pytest.fixture
def data() -> TinyData:
    return TinyData()


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    """Makes a tensor of numbers between -1 and 1, in float64."""

    def make(*shape, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1

    return make


@pytest.fixture
def output() -> Callable[..., Output]:
    """Makes an output of random tensors, float64 and asking for gradients."""

    def make(seed=0, batch=4, widths=(4, 6, 8), sizes=(8, 4, 2), classes=CLASSES, grad=True):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            tensor = torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1
            return tensor.requires_grad_(grad)

        maps = [draw(batch, c, n, n) for c, n in zip(widths, sizes, strict=True)]
        stages = tuple(f.detach().relu().requires_grad_(grad) for f in maps)
        return Output(draw(batch, classes), stages, draw(batch, widths[-1]), tuple(maps))

    return make


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """Makes a batch of n samples to go with `output`."""

    def make(n=4, classes=CLASSES):
        return Batch(torch.arange(n), torch.zeros(n, 3, 8, 8), torch.arange(n) % classes)

    return make


@pytest.fixture
def trace(artefact) -> Callable[..., dict[str, list[float]]]:
    """Trains a tiny student for three steps in float64 and returns each step's terms."""

    def run(method, **config):
        data = TinyData(n=24, dtype=torch.float64)
        teacher = make_net(1, torch.float64, **TEACHER).eval().requires_grad_(False)
        student = make_net(2, torch.float64, **STUDENT)
        batches = list(data.train(0))
        with torch.no_grad():
            t, s = teacher(batches[0].input), student.eval()(batches[0].input)
        torch.manual_seed(3)
        objective = method(s, t, **config).double()
        objective.prepare(teacher, data, artefact)
        trained = [*student.train().parameters(), *objective.parameters()]
        optimizer = torch.optim.SGD(trained, lr=0.01)
        rows: dict[str, list[float]] = {}
        for epoch, batch in enumerate(batches):
            objective.train().schedule(epoch / len(batches))
            with torch.no_grad():
                t = teacher(batch.input)
            losses = objective(student(batch.input), t, batch)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            for name, loss in losses.items():
                rows.setdefault(name, []).append(loss.item())
        return rows

    return run

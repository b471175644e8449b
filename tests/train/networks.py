"""Networks and cohorts that a child process can make as well."""

from functools import partial

import torch
from torch import Tensor, nn

from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.models.resnet import CifarResNet
from raykd.store import Folder
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member
from raykd.train.recipe import Recipe
from raykd.train.teacher import Teacher

MEMBERS = [
    Member("vanilla", Vanilla, exempt=True),
    Member("kd", KD),
    Member("itrd", partial(ITRD, beta_corr=1.0)),
    Member("slow", Vanilla, {"lr": 0.001}),
]


def network(width: int) -> CifarResNet:
    return CifarResNet(1, (width, width, width, width), num_classes=4, in_channels=1)


class Plain(nn.Module):
    """A network without batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Output:
        stage = self.conv(x).relu()
        pooled = stage.mean((2, 3))
        return Output(self.head(pooled), (stage,), pooled)


class Dropping(Plain):
    """A network with dropout, which draws random numbers while it trains."""

    def forward(self, x: Tensor) -> Output:
        return super().forward(torch.dropout(x, 0.3, self.training))


def synthetic() -> Synthetic:
    return Synthetic(classes=4, shape=(1, 8, 8), samples=80, tests=16, batch_size=16)


def teacher() -> Teacher:
    torch.manual_seed(5)
    return Teacher(network(8))


def classroom(root: str) -> Cohort:
    torch.set_num_threads(1)
    folder = Folder(root)
    return Cohort(
        name="0000",
        members=MEMBERS,
        student=partial(network, 4),
        teacher=teacher(),
        data=synthetic(),
        recipe=Recipe(epochs=4, milestones=(2,)),
        folder=folder,
        artefact=Artefacts(folder),
        device=torch.device("cpu"),
    )

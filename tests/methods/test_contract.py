"""What holds for every method, found by being there."""

import inspect
import re
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from raykd.data import Batch
from raykd.methods import find, names
from raykd.models import Output
from raykd.train.student import DistillationLoss

METHODS = names()
STUDENT = {"widths": (4, 6, 8), "sizes": (8, 4, 2)}
SHAPES = {
    "another width, depth and size": {"widths": (5, 7, 9, 12), "sizes": (10, 8, 8, 4)},
    "the same shape": STUDENT,
    "a smaller map": {"widths": (6, 6, 6), "sizes": (8, 4, 1)},
}


@pytest.fixture
def pair(tiny_net, data, artefact):
    """Makes a frozen teacher, a student and a prepared method."""

    def make(name, shape="another width, depth and size", seed=0):
        teacher = tiny_net(1, **SHAPES[shape]).eval().requires_grad_(False)
        student = tiny_net(2, **STUDENT)
        inputs = data.inputs[:2]
        with torch.no_grad():
            s, t = student.eval()(inputs), teacher(inputs)
        torch.manual_seed(seed)
        stages = [key for key in find(name).hyperparameters() if key.endswith("epochs")]
        method = find(name)(s, t, **dict.fromkeys(stages, 1))
        method.prepare(teacher, data, artefact)
        return teacher, student.train(), method.train()

    return make


def look(teacher, batch) -> Output:
    with torch.no_grad():
        return teacher(batch.input)


def losses_of(student, method, t, batch):
    torch.manual_seed(7)
    return method(student(batch.input), t, batch)


def same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_methods_of_the_folder_are_found():
    assert {"vanilla", "kd", "itrd", "ft", "srrl"} <= set(METHODS)
    assert all(find(name).__module__ == f"raykd.methods.{name}" for name in METHODS)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [8, 4, 1])
@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_are_finite(pair, data, name, n, shape):
    teacher, student, method = pair(name, shape)
    batch = data.batch(torch.arange(n))
    losses = losses_of(student, method, look(teacher, batch), batch)
    sum(losses.values()).backward()
    for term, loss in losses.items():
        assert loss.shape == (), term
        assert loss.dtype == torch.float32, term
        assert loss.isfinite(), term
    for parameter in [*student.parameters(), *method.parameters()]:
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


HAZARDS = {
    "a sample without features": lambda x: x[3].zero_(),
    "a sample almost without features": lambda x: x[3].mul_(1e-6),
    "a sample that is there twice": lambda x: x[3].copy_(x[4]),
    "a sample that is almost there twice": lambda x: x[3].copy_(x[4] * (1 + 1e-6)),
    "a constant sample": lambda x: x[3].fill_(0.5),
    "a feature without variance": lambda x: x[:, 1].fill_(0.5),
    "a dead feature": lambda x: x[:, 1].zero_(),
    "a feature almost without variance": lambda x: x[:, 1].mul_(1e-6),
    "no features": torch.Tensor.zero_,
    "identical samples": lambda x: x.copy_(x[:1].clone()),
}


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("hazard", HAZARDS)
@pytest.mark.parametrize("name", METHODS)
def test_hazards_of_the_students_features(pair, data, name, hazard, scale):
    """None pulls the network much more than an ordinary batch, however large the features are."""
    teacher, student, method = pair(name)
    method.eval()  # else batch norm divides by the deviation of the batch
    batch = data.batch(torch.arange(8))
    t, s = look(teacher, batch), student(batch.input)

    def pulls(spoil):
        spoilt = s.map(partial(changed, spoil, scale))
        losses = deepcopy(method)(spoilt, t, batch)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        given = [x.grad for x in tensors(spoilt) if x.grad is not None]
        assert all(gradient.isfinite().all() for gradient in given)
        return [x.grad.flatten(1).norm(dim=1).max() for x in tensors(spoilt) if x.grad is not None]

    ordinary = pulls(lambda x: x)
    for pull, usual in zip(pulls(HAZARDS[hazard]), ordinary, strict=True):
        assert pull <= 1e4 * usual.clamp_min(1e-3)


def changed(spoil, scale, tensor):
    tensor = scale * tensor.detach().clone()
    spoil(tensor)
    return tensor.requires_grad_()


@pytest.mark.parametrize("name", METHODS)
def test_teacher_and_batch_stay_as_they_are(pair, data, name):
    teacher, student, method = pair(name)
    batch = data.batch(torch.arange(8))
    t = look(teacher, batch)
    before = deepcopy(teacher.state_dict())
    seen, kept = t.map(torch.clone), Batch(*(field.clone() for field in batch))
    optimizer = torch.optim.SGD([*student.parameters(), *method.parameters()], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        sum(losses_of(student, method, t, batch).values()).backward()
        optimizer.step()
    same(teacher.state_dict(), before)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not teacher.training
    assert all(torch.equal(a, b) for a, b in zip(batch, kept, strict=True))
    for a, b in zip(tensors(t), tensors(seen), strict=True):
        assert torch.equal(a, b)


def tensors(output):
    return [output.logits, output.pooled, *output.stages, *output.preacts]


@pytest.mark.parametrize("name", METHODS)
def test_nothing_of_the_teacher_is_trained_or_stored(pair, name):
    teacher, _, method = pair(name)
    own = {p.data_ptr() for p in teacher.parameters()}
    assert not own & {p.data_ptr() for p in method.parameters()}
    assert not own & {v.data_ptr() for v in method.state_dict().values()}
    assert all(p.requires_grad for p in method.parameters())
    assert not any(isinstance(module, type(teacher)) for module in method.modules())


@pytest.mark.parametrize("name", METHODS)
def test_state_round_trips(pair, data, name):
    teacher, student, method = pair(name)
    batches = list(data.train(0))
    optimizer = torch.optim.SGD([*student.parameters(), *method.parameters()], lr=0.01)
    for batch in batches[:2]:
        optimizer.zero_grad()
        sum(losses_of(student, method, look(teacher, batch), batch).values()).backward()
        optimizer.step()
    state = deepcopy(method.state_dict())
    _, _, resumed = pair(name, seed=1)
    resumed.load_state_dict(state)
    for batch in batches[2:]:
        t = look(teacher, batch)
        first = losses_of(deepcopy(student), method, t, batch)
        second = losses_of(deepcopy(student), resumed, t.map(torch.clone), batch)
        same(first, second)
    same(method.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_alone_equals_in_a_cohort(pair, data, name):
    teacher, student, method = pair(name)
    neighbour, alone = pair(name, seed=1)[2], deepcopy(method)
    for batch in data.train(0):
        t = look(teacher, batch)
        expected = losses_of(deepcopy(student), alone, look(teacher, batch), batch)
        losses_of(deepcopy(student), neighbour, t, batch)
        same(losses_of(deepcopy(student), method, t, batch), expected)


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_float32_under_autocast(pair, data, name):
    teacher, student, method = pair(name)
    batch = data.batch(torch.arange(8))
    objective = DistillationLoss(student, method, autocast=True)
    torch.manual_seed(7)
    losses, logits = objective(batch, look(teacher, batch))
    sum(losses.values()).backward()
    assert logits.dtype == torch.float32
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", METHODS)
def test_a_call_inside_autocast_is_float32(pair, data, name, dtype):
    """The same bits, learnable parts included; outputs of 16 bits are cast first."""
    teacher, student, method = pair(name)
    batch = data.batch(torch.arange(8))
    s, t = student(batch.input), look(teacher, batch)
    low_s, low_t = s.map(lambda x: x.to(dtype)), t.map(lambda x: x.to(dtype))
    low = batch._replace(input=batch.input.to(dtype))

    def terms(s, t, batch):
        torch.manual_seed(7)
        return deepcopy(method)(s, t.map(torch.clone), batch)

    up = low_s.map(torch.Tensor.float), low_t.map(torch.Tensor.float)
    cases = [
        ((s, t, batch), (s, t, batch)),
        ((*up, low._replace(input=low.input.float())), (low_s, low_t, low)),
    ]
    for exact, given in cases:
        expected = terms(*exact)
        with torch.autocast("cpu", dtype):
            got = terms(*given)
            assert torch.is_autocast_enabled("cpu")
        same(got, expected)
        assert all(term.dtype == torch.float32 for term in got.values())


@pytest.mark.parametrize("name", METHODS)
def test_the_schedule_covers_a_training(pair, data, name):
    teacher, student, method = pair(name)
    batch = data.batch(torch.arange(8))
    for progress in (0.0, 0.5, 0.99):
        method.schedule(progress)
        losses = losses_of(student, method, look(teacher, batch), batch)
        assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("name", METHODS)
def test_hyperparameters_are_keywords_with_defaults(name):
    method = find(name)
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["s", "t"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    assert method.hyperparameters().keys() == {p.name for p in parameters[2:]}
    assert inspect.Parameter.empty not in method.hyperparameters().values()


@pytest.mark.parametrize("name", METHODS)
def test_the_docstring_names_a_paper(name):
    method = find(name)
    first = inspect.getmodule(method).__doc__ or ""
    if name not in {"vanilla", "sum"}:
        assert re.search(r"\(.*(19|20)\d\d\)", first), first
    assert method.__doc__
    undocumented = [p for p in method.hyperparameters() if f"{p}:" not in method.__doc__]
    assert not undocumented


def test_the_fixture_is_a_model(pair):
    teacher, student, _ = pair("vanilla")
    assert isinstance(teacher.head, nn.Module)
    assert student.training

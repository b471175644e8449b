from functools import partial

import pytest
import torch
import torch.nn.functional as F

from raykd.methods.bregman import Bregman
from raykd.modules.bregman_pca import BregmanPCA, ConvergenceWarning

TEACHER = {"widths": (5, 7, 9, 12), "sizes": (10, 8, 6, 4)}
STUDENT = {"widths": (4, 6, 8), "sizes": (8, 4, 2)}


class Store:
    """Keeps artefacts, and counts what was made."""

    def __init__(self):
        self.kept, self.made = {}, []

    def __call__(self, kind, config, make):
        key = (kind, tuple(sorted(config.items())))
        if key not in self.kept:
            self.kept[key] = make()
            self.made.append((kind, config.get("layer"), config.get("rank")))
        return self.kept[key]


@pytest.fixture
def pair(tiny_net, data):
    teacher = tiny_net(1, torch.float64, **TEACHER).eval().requires_grad_(False)
    student = tiny_net(2, torch.float64, **STUDENT)
    batch = next(data.train(0))
    batch = batch._replace(input=batch.input.double())
    data.inputs = data.inputs.double()
    return teacher, student, batch


@pytest.fixture
def bregman(pair, data):
    def make(artefact=None, **config):
        teacher, student, batch = pair
        torch.manual_seed(0)
        s, t = student(batch.input), teacher(batch.input)
        method = Bregman(s, t, **config).double()
        method.prepare(teacher, data, artefact or Store())
        return method, s, t

    return make


def test_the_imported_layer_is_the_fit(bregman, pair, data):
    teacher, _, _ = pair
    method, _, _ = bregman(rank_logits=2)
    y = torch.cat([teacher(batch.input).logits.softmax(1) for batch in data.train(0)])
    fit = BregmanPCA(2, "softmax").fit(y)
    (layer,) = method.imported
    assert torch.allclose(layer.mean, fit.mean_)
    reconstruction = layer.loss(layer.encode(y), y).mean().item()
    assert reconstruction == pytest.approx(fit.loss_, rel=1e-3)


def test_the_terms_of_the_logits(bregman, pair):
    method, s, t = bregman(rank_logits=2, coef=0.5, match=2.0, head=3.0, gamma=0.25)
    _, _, batch = pair
    (layer,), (predict,) = method.imported, method.predict
    c, p_t = predict(s.pooled), t.logits.softmax(1)
    y_s = layer.mean + c @ layer.components.T
    losses = method(s, t, batch)
    assert losses.keys() == {"ce", "match", "coef", "head"}
    kl = (p_t * (p_t.log() - y_s.log_softmax(1))).sum(1).mean()
    assert losses["match"].item() == pytest.approx(2 * kl.item())
    half = (c - layer.encode(p_t)).square().sum(1).mean() / 2
    assert losses["coef"].item() == pytest.approx(0.5 * half.item())
    ce = F.cross_entropy(y_s, batch.target)
    assert losses["head"].item() == pytest.approx(3 * ce.item())
    own = F.cross_entropy(s.logits, batch.target)
    assert losses["ce"].item() == pytest.approx(0.25 * own.item())


def test_several_layers_have_ranks_of_their_own(bregman, pair):
    teacher, _, batch = pair
    store = Store()
    method, s, t = bregman(store, rank_logits=3, rank_pooled=4, rank_stage_2=2, rank_stage_4=1)
    widths = [tuple(layer.components.shape) for layer in method.imported]
    assert widths == [(5, 3), (12, 4), (7, 2), (12, 1)]
    losses = method(s, t, batch)
    logits, pooled, early, late = method.imported
    match = logits.loss(method.predict[0](s.pooled), t.logits.softmax(1)).mean()
    c = method.predict[1](s.pooled)
    match = match + pooled.loss(c, t.pooled).mean() / 12
    for layer, head, f_s, f_t in (
        (early, method.predict[2], s.stages[0], t.stages[1]),
        (late, method.predict[3], s.stages[2], t.stages[3]),
    ):
        f_t = F.adaptive_avg_pool2d(f_t, f_s.shape[2:])
        rows = f_t.movedim(1, -1).reshape(-1, f_t.shape[1])
        c_s = head(f_s.movedim(1, -1).reshape(-1, f_s.shape[1]))
        match = match + layer.loss(c_s, rows).mean() / rows.shape[1]
    assert losses["match"].item() == pytest.approx(match.item())
    behind = teacher.head(pooled(c))
    own = logits.preactivation(method.predict[0](s.pooled))
    both = F.cross_entropy(own, batch.target) + F.cross_entropy(behind, batch.target)
    assert losses["head"].item() == pytest.approx(both.item() / 2)


def test_fits_start_from_the_next_smaller_power_of_two_and_are_shared(bregman):
    store = Store()
    bregman(store, rank_logits=3)
    assert [(layer, rank) for kind, layer, rank in store.made if kind == "bregman"] == [
        ("logits", 1),
        ("logits", 2),
        ("logits", 3),
    ]
    bregman(store, rank_logits=4)
    assert store.made[-1] == ("bregman", "logits", 4)
    assert len(store.made) == 5  # four fits, and the teacher was asked once
    losses = [fit["loss"].item() for key, fit in store.kept.items() if key[0] == "bregman"]
    assert losses == sorted(losses, reverse=True)


def test_how_well_each_layer_is_represented_is_told(bregman):
    store = Store()
    method, _, _ = bregman(store, rank_logits=2, rank_pooled=3)
    fits = {key[1]: fit["loss"].item() for key, fit in store.kept.items() if key[0] == "bregman"}
    ranks = {(dict(key)["layer"], dict(key)["rank"]): loss for key, loss in fits.items()}
    assert method.facts() == {
        "reconstruction_logits": ranks["logits", 2],
        "reconstruction_pooled": ranks["pooled", 3],
    }


def test_at_full_rank_the_student_can_say_what_the_teacher_says(bregman):
    method, _, t = bregman()
    (layer,) = method.imported
    assert layer.components.shape == (5, 4)  # min(16, K - 1)
    assert layer.loss(layer.encode(t.logits.softmax(1)), t.logits.softmax(1)).max() < 1e-6


def test_the_imported_layers_and_the_head_stay_as_they_are(bregman, pair):
    teacher, student, batch = pair
    method, _, t = bregman(rank_logits=2, rank_pooled=3)
    before = {name: value.clone() for name, value in method.imported.state_dict().items()}
    head = [p.clone() for p in teacher.head.parameters()]
    optimizer = torch.optim.SGD([*student.parameters(), *method.parameters()], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(method(student(batch.input), t, batch).values()).backward()
        optimizer.step()
    after = method.imported.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert all(torch.equal(p, q) for p, q in zip(teacher.head.parameters(), head, strict=True))
    assert [name for name, _ in method.named_parameters() if "predict" not in name] == []


@pytest.mark.parametrize("mean", ["dual", "joint"])
def test_learning_brings_the_coefficients_near(bregman, pair, mean):
    _, student, batch = pair
    method, _, t = bregman(rank_logits=2, mean=mean, match=0.0, coef=1.0, head=0.0)
    optimizer = torch.optim.Adam([*student.parameters(), *method.parameters()], lr=0.01)
    losses = []
    for _ in range(30):
        terms = method(student(batch.input), t, batch)
        losses.append(terms["coef"].item())
        optimizer.zero_grad()
        terms["coef"].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    assert terms.keys() == {"ce", "coef"}


def test_hidden_layers_can_be_taken_without_a_transfer_function(bregman):
    method, _, _ = bregman(rank_logits=0, rank_pooled=2, transfer="identity")
    assert method.imported[0].transfer.name == "identity"


def test_what_it_refuses(output):
    for config, message in (
        ({"rank_logits": 5}, "rank_logits is 5; 5 features under softmax allow 1 to 4"),
        ({"rank_pooled": -1}, "rank_pooled is -1"),
        ({"rank_logits": 0}, "every rank is 0"),
        ({"transfer": "gelu"}, "must be monotone"),
        ({"mean": "mode"}, "mean is 'mode'"),
        ({"match": 0.0, "head": 0.0}, "match=0.0, coef=0.0, head=0.0"),
        ({"rank_stage_5": 2}, "rank_stage_5 is 2, but .* are 1 to 3"),
    ):
        with pytest.raises(ValueError, match=message):
            Bregman(output(), output(), **config)
    deep = output(widths=(5, 7, 9, 12), sizes=(10, 8, 6, 4))
    with pytest.raises(ValueError, match=r"rank_stage_1 is 2, but .* are 2 to 4"):
        Bregman(output(), deep, rank_stage_1=2)


def test_a_layer_out_of_its_functions_range_is_named(output, pair, data):
    teacher, _, _ = pair
    signed = torch.nn.Module()
    signed.head = teacher.head
    signed.forward = lambda x: teacher(x).map(lambda f: f - 1)
    s, t = output(), output(widths=(5, 7, 9, 12), sizes=(10, 8, 6, 4))
    method = Bregman(s, t, rank_logits=0, rank_pooled=2)
    with pytest.raises(ValueError, match="layer pooled of the teacher: outputs lie in"):
        method.prepare(signed, data, Store())


def test_golden_trace(trace):
    assert trace(Bregman, rank_logits=2, rank_pooled=3, coef=1.0) == {
        "ce": pytest.approx([1.58149696, 1.69492414, 1.58139924], rel=1e-5),
        "match": pytest.approx([0.28907557, 0.242001504, 0.217035626], rel=1e-5),
        "coef": pytest.approx([0.586945364, 0.56558086, 0.500555987], rel=1e-5),
        "head": pytest.approx([1.59082127, 1.81939111, 1.80404735], rel=1e-5),
    }


@pytest.mark.parametrize("mean", ["dual", "joint"])
def test_a_teacher_with_sparse_maps_can_be_learned_from(bregman, pair, data, mean, monkeypatch):
    """Most units are off at a joint mean: relu's curvature there tells nothing of them."""
    monkeypatch.setattr("raykd.methods.bregman.ROWS", 500)
    teacher, student, batch = pair
    with torch.no_grad():
        for norm in teacher.norms:
            norm.momentum = 1.0
            norm.bias -= 0.5
        teacher.train()(data.inputs)
        teacher.eval()
    ranks = {"rank_stage_2": 3, "rank_stage_3": 4, "rank_stage_4": 6, "rank_logits": 0}
    method, _, t = bregman(mean=mean, coef=0.1, head=0.0, **ranks)
    optimizer = torch.optim.SGD([*student.parameters(), *method.parameters()], lr=0.05)
    losses = []
    for _ in range(20):
        terms = method(student(batch.input), t, batch)
        losses.append(sum(terms.values()).item())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_a_fit_that_was_stopped_by_its_limit_is_told(bregman, monkeypatch):
    limited = partial(BregmanPCA, iterations=1)
    monkeypatch.setattr("raykd.methods.bregman.BregmanPCA", limited)
    with pytest.warns(ConvergenceWarning, match="stopped after 1 iterations"):
        method, _, _ = bregman(rank_logits=2)
    assert method.facts()["unconverged_logits"] == 1

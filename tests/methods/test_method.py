import inspect
import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from ray import cloudpickle

import raykd.methods.method
from raykd.methods import Method, find, names
from raykd.methods.crd import CRD
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.srm import SRM
from raykd.methods.vanilla import Vanilla

TEACHER = {"widths": (5, 7, 9, 12), "sizes": (10, 8, 6, 4)}


def test_it_is_a_method_with_a_stable_name():
    method = KD + CRD
    assert issubclass(method, Method)
    assert method is CRD + KD
    assert method is find("crd+kd")
    assert method is find("kd+crd")
    assert method.__name__ == "crd+kd"
    assert (CRD + KD) + ITRD is ITRD + KD + CRD


def test_the_folders_methods_stay_as_they_are():
    assert "sum" not in names()
    assert find("kd") is KD
    with pytest.raises(ValueError, match="unknown method 'nonsense'"):
        find("kd+nonsense")


def test_it_is_pickled_by_name():
    method = CRD + KD
    for dumps in (pickle.dumps, cloudpickle.dumps):
        assert pickle.loads(dumps(method)) is method
        assert pickle.loads(dumps(partial(method, kd_alpha=0.5))).func is method
    assert b"raykd.methods.method" in pickle.dumps(method)
    with pytest.raises(AttributeError):
        raykd.methods.method.nonsense  # noqa: B018
    assert not hasattr(raykd.methods.method, "kd+nonsense")


def test_every_hyperparameter_is_open_under_its_parts_name():
    known = (KD + ITRD).hyperparameters()
    assert known == {
        "gamma": 1.0,
        "itrd_weight": 1.0,
        "itrd_alpha": 1.01,
        "itrd_beta_corr": 2.0,
        "itrd_beta_mi": 1.0,
        "kd_weight": 1.0,
        "kd_temperature": 4.0,
        "kd_alpha": 0.9,
    }
    parameters = list(inspect.signature(KD + ITRD).parameters.values())
    assert [p.name for p in parameters[:2]] == ["s", "t"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])


def test_terms_are_added_and_the_task_loss_is_counted_once(output, batch_of):
    s, t, batch = output(), output(seed=1, grad=False), batch_of()
    torch.manual_seed(0)
    config = {"kd_alpha": 0.5, "kd_weight": 3.0, "itrd_beta_mi": 0.7, "gamma": 2.0}
    method = (KD + ITRD)(s, t, **config).double()
    torch.manual_seed(0)
    itrd, kd = ITRD(s, t, beta_mi=0.7).double(), KD(s, t, alpha=0.5)
    losses, own = method(s, t, batch), {**itrd(s, t, batch), **kd(s, t, batch)}
    assert losses.keys() == {"ce", "itrd_corr", "itrd_mi", "kd"}
    assert losses["ce"].item() == 2 * F.cross_entropy(s.logits, batch.target).item()
    assert losses["itrd_corr"].item() == own["corr"].item()
    assert losses["itrd_mi"].item() == own["mi"].item()
    assert losses["kd"].item() == pytest.approx(3 * own["kd"].item())


def test_a_weight_of_one_and_a_part_without_terms_change_nothing(output, batch_of):
    s, t, batch = output(), output(seed=1, grad=False), batch_of()
    alone = KD(s, t, gamma=1.0)(s, t, batch)
    together = (KD + Vanilla)(s, t)(s, t, batch)
    assert {k: v.item() for k, v in together.items()} == {k: v.item() for k, v in alone.items()}


@pytest.fixture
def prepared(tiny_net, data, artefact):
    def make(kind, seed=0, **config):
        teacher = tiny_net(1, **TEACHER).eval().requires_grad_(False)
        student = tiny_net(2, widths=(4, 6, 8), sizes=(8, 4, 2))
        batch = next(data.train(0))
        s, t = student(batch.input), teacher(batch.input)
        torch.manual_seed(seed)
        method = kind(s, t, **config)
        method.prepare(teacher, data, artefact)
        return method, s, t, batch

    return make


def test_state_round_trips(prepared):
    method, s, t, batch = prepared(CRD + KD)
    method(s, t, batch)
    names = set(method.state_dict())
    assert "methods.crd.bank_s.entries" in names
    resumed = prepared(CRD + KD, seed=1)[0]
    resumed.load_state_dict(deepcopy(method.state_dict()))
    torch.manual_seed(5)
    first = method(s, t, batch)
    torch.manual_seed(5)
    second = resumed(s, t, batch)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_facts_of_the_parts_are_told_apart(output):
    method = (KD + CRD)(output(), output())
    method.methods["crd"].facts = lambda: {"negatives": 5.0}
    assert method.facts() == {"crd_negatives": 5.0}
    assert KD(output(), output()).facts() == {}


def test_parts_are_prepared_and_told_the_progress(prepared):
    method, s, t, batch = prepared(SRM + KD, srm_dictionary_epochs=1)
    method.schedule(0.0)
    assert method(s, t, batch).keys() == {"srm_pixel", "srm_image", "kd", "ce"}
    method.schedule(0.9)
    assert method(s, t, batch).keys() == {"srm_kd", "kd", "ce"}


def test_what_it_refuses(output):
    with pytest.raises(ValueError, match="kd is in the sum twice"):
        KD + KD
    with pytest.raises(ValueError, match="crd, kd is in the sum twice"):
        (KD + CRD) + (CRD + KD)
    with pytest.raises(ValueError, match=r"unknown hyperparameters alpha of crd\+kd; known: gamma"):
        (KD + CRD)(output(), output(), alpha=0.1)
    with pytest.raises(ValueError, match="temperature is 0"):
        (KD + CRD)(output(), output(), kd_temperature=0.0)


def test_golden_trace(trace):
    assert trace(CRD + KD, crd_negatives=8) == {
        "ce": pytest.approx([1.58149696, 1.69132378, 1.57812456], rel=1e-5),
        "crd": pytest.approx([6.4507054, 5.5728302, 5.7788982], rel=1e-5),
        "kd": pytest.approx([0.0364614378, 0.0365091314, 0.03651304], rel=1e-5),
    }


class Mine(Vanilla):
    """A user's own method, of whatever module."""

    def __init__(self, s, t, *, width: int = 3):
        super().__init__(s, t)
        self.width = width

    class Inner(Vanilla):
        pass


def test_a_part_is_called_as_its_class(monkeypatch):
    monkeypatch.setattr(Mine, "__module__", "__main__")
    assert (KD + Mine).__name__ == (Mine + KD).__name__ == "kd+mine"
    assert "mine_width" in (KD + Mine).hyperparameters()
    assert (Mine.Inner + KD).__name__ == "inner+kd"
    copy = cloudpickle.loads(cloudpickle.dumps(Mine + KD))
    assert copy.hyperparameters() == (Mine + KD).hyperparameters()


def test_a_partial_is_added_with_what_it_binds(output):
    added = KD + partial(CRD, temperature=0.2)
    assert added.func is CRD + KD
    assert added.keywords == {"crd_temperature": 0.2}
    assert (partial(KD, alpha=0.5) + CRD).keywords == {"kd_alpha": 0.5}
    assert (ITRD + added).keywords == {"crd_temperature": 0.2}
    with pytest.raises(ValueError, match=r"kd brings gamma=2, .* partial\(A \+ B, gamma=2\)"):
        CRD + partial(KD, gamma=2)
    for what in (lambda s, t: KD(s, t), "kd", 3, SRM.forward):
        with pytest.raises(ValueError, match="is no method and can't be in a sum"):
            KD + what
    other = type("KD", (Vanilla,), {})
    with pytest.raises(ValueError, match="different methods of a sum are called kd; rename one"):
        KD + other

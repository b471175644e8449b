"""`raykd export` and `raykd evaluate` on a store that somebody else has written."""

import json
import pickle
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from optuna.distributions import FloatDistribution
from safetensors.torch import save
from typer.testing import CliRunner

from raykd.cli import app
from raykd.data.synthetic import Synthetic, make
from raykd.export.model_card import card
from raykd.methods.kd import KD
from raykd.models.resnet import CifarResNet
from raykd.search.planner import Search
from raykd.store import Folder, StoreError, open_store
from raykd.store.records import pack
from raykd.store.trials import Trial
from raykd.study import Study, run
from raykd.study.checks import check
from raykd.study.recorder import StudyRecorder
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort
from raykd.train.recipe import Recipe


class Runs:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def study():
    return Study(
        name="tiny",
        data=partial(Synthetic, classes=6, shape=(3, 8, 8), samples=60, tests=12),
        teacher=partial(CifarResNet, 1, (4, 4, 4, 4)),
        student=partial(CifarResNet, 1, (4, 4, 4, 4)),
        method=KD,
        space={"alpha": FloatDistribution(0.1, 1.0)},
        references=(),
        trials=1,
        cohort=1,
        epochs=1,
        batch_size=16,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with one complete trial, whose student is as it was made."""
    root = tmp_path_factory.mktemp("whole")
    data, source = check(study())
    store = open_store(root, create=True)
    with store.writer("tiny", run._spec(study(), data, source, store.folder)) as writer:
        recorder = StudyRecorder(study(), Search(study().search_config(1)), writer, store.folder)
        [planned] = recorder.take().trials
        path = f"tiny/checkpoints/{planned.trial}/last.safetensors"
        store.folder.write(path, save(CifarResNet(1, (4, 4, 4, 4), 6).state_dict()))
        metrics = {"val_top1": 0.5, "test_top1": 0.5, "params": 10.0}
        name = {"trial": planned.trial}
        end = {"kind": "end", **name, "state": "COMPLETE", "checkpoint": path}
        writer.append([{"kind": "report", **name, "epoch": 1, "metrics": metrics}, end])
    return root


@pytest.fixture
def root(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(whole, tmp_path / "store"))


def plant(root, **fields):
    file = root / "tiny" / "study.json"
    spec = json.loads(file.read_text())
    for place, value in fields.items():
        *above, last = place.split("__")
        inner = spec
        for key in above:
            inner = inner[key]
        inner[last] = value
    file.write_text(json.dumps(spec))


def cli(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, " ".join(done.output.split())


def test_the_store_is_exported_and_evaluated_before_anything_is_planted(root):
    assert cli("export", root, "tiny", "--output", "out")[0] == 0
    assert cli("evaluate", root, "tiny")[0] == 0


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("raykd.study.provenance:_output", {"command": ["touch", "mark"]}),
        ("raykd.report.command:json.dumps", {}),
        ("raykd.data.cifar:write_cifar", {"root": "mark"}),
        ("raykd.models.resnet:nn.Linear", {}),
        ("pathlib:Path.touch", {}),
        ("raykd.models.find:import_module", {"name": "antigravity"}),
    ],
)
def test_no_other_function_is_called(root, tmp_path, place, arguments):
    located = {"function": place, "arguments": arguments}
    plant(root, made_by__student=located, made_by__data=located)
    code, said = cli("export", root, "tiny")
    assert code == 2
    assert "give --student module:function" in said
    plant(root, made_by__student={"function": "raykd.models.resnet:resnet8", "arguments": {}})
    assert cli("evaluate", root, "tiny")[0] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_pickle_is_not_loaded_whatever_the_store_says(root, tmp_path):
    mark, folder = tmp_path / "mark", tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Runs(mark)))
    arguments = {"root": str(tmp_path), "verify": False}
    plant(root, made_by__data={"function": "raykd.data.cifar:CIFAR10", "arguments": arguments})
    code, said = cli("evaluate", root, "tiny")
    assert (code, "give --data-root" in said) == (2, True)
    code, said = cli("evaluate", root, "tiny", "--data-root", tmp_path)
    assert (code, "a store may not set it: verify" in said) == (2, True)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("made_by__student__arguments__widths", [4, 4, 4, 10**7], "larger than its|memory"),
        ("made_by__student__arguments__blocks", 10**8, "larger than its checkpoint"),
        ("made_by__student__arguments__num_classes", 10**12, "can't have"),
        ("made_by__data__arguments__samples", 10**8, "are more than"),
        ("made_by__data__arguments__shape", [3, 8, 10**9], "can't have"),
        ("data__shape", [3, 10**6, 10**6], "more than 268435456 numbers"),
        ("batch_size", 10**12, "more than 268435456 numbers"),
        ("batch_size", -1, "has batches of -1"),
        ("seed", "0", "its seed is '0'"),
    ],
)
def test_sizes_do_not_fill_the_machine(root, field, value, said):
    plant(root, **{field: value})
    code, text = cli("evaluate", root, "tiny")
    assert code == 2
    assert any(part in text for part in said.split("|")), text


@pytest.mark.parametrize("name", ["x/../../y", "../y", "/y"])
def test_a_trial_is_not_exported_outside_of_the_folder(root, tmp_path, name):
    trial = {"number": 1, "cohort": "c0001", "role": "search", "method": "kd", "seed": 0}
    records = [
        {"kind": "trial", "trial": name, **trial, "config": {}, "time": ""},
        {
            "kind": "end",
            "trial": name,
            "state": "COMPLETE",
            "reason": "",
            "cost": {},
            "params": 1,
            "checkpoint": "tiny/checkpoints/0000/last.safetensors",
        },
    ]
    Folder(root / "tiny").write("tail/000009-00000001.jsonl", pack(records))
    code, said = cli("export", root, "tiny", "--trial", name)
    assert code == 2
    assert f"there is no trial {name!r}" in said
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_checkpoint_is_safetensors_and_nothing_else(root, tmp_path):
    mark, [file] = tmp_path / "mark", root.glob("tiny/checkpoints/*/last.safetensors")
    file.write_bytes(pickle.dumps(Runs(mark)))
    assert "no safetensors" in cli("export", root, "tiny")[1]
    torch.save({"model": Runs(mark)}, file)
    assert "no safetensors" in cli("export", root, "tiny")[1]
    file.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    assert "no safetensors" in cli("export", root, "tiny")[1]
    assert not mark.exists()


def test_the_checkpoint_of_a_cohort_runs_nothing(tmp_path):
    mark, folder = tmp_path / "mark", Folder(tmp_path / "store")
    data = Synthetic(classes=2, shape=(3, 8, 8), samples=20, batch_size=4)
    goods = {"student": CifarResNet, "teacher": None, "artefact": Artefacts(folder)}
    cohort = Cohort(
        "c0000",
        [],
        data=data,
        recipe=Recipe(epochs=1),
        folder=folder,
        device=torch.device("cpu"),
        **goods,
    )
    torch.save({"epoch": Runs(mark)}, tmp_path / "evil.pt")
    huge = {"epoch": 10**12, "step": 0, "rows": [], "students": {}, "best": {}}
    torch.save(huge, tmp_path / "huge.pt")
    for content in (
        (tmp_path / "evil.pt").read_bytes(),
        (tmp_path / "huge.pt").read_bytes(),
        pickle.dumps(Runs(mark)),
        b"",
        b"PK\x03\x04",
    ):
        folder.write("c0000/00001.pt", content)
        with pytest.raises(StoreError, match="can't be gone on from"):
            cohort._newest()
    assert not mark.exists()


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[]", "{}", '{"sha256": "../../secret"}', '{"sha256": ["x"]}']
)
def test_an_artefact_that_was_planted_is_named(tmp_path, text):
    artefacts = Artefacts(Folder(tmp_path))
    artefacts.folder.write(f"{artefacts.path('ft', {})}/artefact.json", text.encode())
    with pytest.raises(StoreError, match=r"is not whole.*delete that folder"):
        artefacts("ft", {}, dict)


EVIL = "x`\n\n---\n# <script>alert(1)</script> | [a](javascript:b) \x1b[2J ```python\nimport os"


def test_the_card_shows_texts_as_texts(root):
    plant(
        root,
        name=EVIL,
        command=EVIL,
        host=EVIL,
        student__name=EVIL,
        data__mean=EVIL,
        data__std=EVIL,
        versions={EVIL: EVIL},
        recipe__schedule=EVIL,
        teacher__model__name=EVIL,
    )
    code, said = cli("export", root, "tiny", "--output", "out")
    assert code == 0, said
    text = Path("out/README.md").read_text()
    plain = text.splitlines()
    assert "\x1b" not in text
    assert [line for line in plain if line.startswith("---")] == ["---", "---"]
    assert sum(line.startswith("```") for line in plain) == 2
    assert not [line for line in plain if line.startswith("import os")]
    assert "[a](javascript" not in "".join(line for line in plain if line.startswith("#"))
    for line in plain:
        if line.startswith("| ") and "alert" in line:
            assert line.replace("\\|", "").count("|") == 3, line


def test_the_snippet_has_only_what_made_the_network():
    trial = Trial("0000", 0, "c", "search", "kd", 0, "COMPLETE", "", {}, {}, {}, 1, 1, 1, "", {})
    make = {
        "function": "raykd.models.resnet_cifar:FourStageResNet",
        "arguments": {
            "block": {"function": "raykd.models.resnet_cifar:BasicBlock", "arguments": {}},
            "blocks": [1, 1, 1, 1],
        },
    }
    spec = {
        "name": "s",
        "student": {},
        "teacher": {},
        "data": {"shape": [3, 8, 8]},
        "recipe": {},
        "batch_size": 1,
        "method": {},
    }
    text = card(trial, spec, None, make, "model.safetensors", "0")
    code = text.partition("```python\n")[2].partition("\nload_weights(")[0]
    space = {}
    exec(code, space)
    assert type(space["model"]).__name__ == "FourStageResNet"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"alpha": 0.5, "weights": "/etc"}}, "sets weights, which this study does not"),
        ({"config": {}}, "no value for alpha"),
        ({"config": {"alpha": 10**400}}, "no value for alpha"),
        ({"config": {"alpha": [0.5]}}, "no value for alpha"),
        ({"number": 10**12}, "the numbers 0, 1000000000000"),
        ({"number": 0}, "the numbers 0, 0"),
        ({"cohort": "c0001-sx"}, "is the name of no cohort"),
    ],
)
def test_a_trial_of_another_study_is_not_gone_on_with(root, change, said):
    file = {
        "kind": "trial",
        "trial": "0001",
        "number": 1,
        "cohort": "c0001",
        "role": "search",
        "method": "kd",
        "seed": 0,
        "config": {"alpha": 0.5},
        "time": "",
        **change,
    }
    Folder(root / "tiny").write("tail/000009-00000001.jsonl", pack([file]))
    store = open_store(root)
    with store.writer("tiny", store.study("tiny").spec) as writer:
        recorder = StudyRecorder(study(), Search(study().search_config(1)), writer, store.folder)
        with pytest.raises(StoreError, match=said):
            recorder.restore(store.study("tiny").trials().to_pylist(), {})


def test_made_up_images_are_bounded():
    with pytest.raises(ValueError, match="are more than"):
        Synthetic(samples=10**7)
    assert len(make(2, (3, 8, 8), 4, 2).train) == 4


def test_what_is_printed_does_not_command_the_terminal(root):
    plant(root, made_by__student={"function": "raykd\x1b[2J:x\u202e", "arguments": {}})
    for words in (("export", root, "tiny"), ("trials", root, "tiny"), ("studies", root)):
        said = CliRunner().invoke(app, [str(word) for word in words]).output
        assert not {"\x1b", "\u202e", "\x9b"} & set(said)

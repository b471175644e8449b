import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[2] / "studies" / "bregman_ranks.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contender(name, config, **metrics):
    return SimpleNamespace(name=name, config=config, mean=metrics.__getitem__)


def test_accuracy_and_reconstruction_against_each_rank(script):
    trials = [
        contender(
            str(i),
            {"rank_logits": logits, "rank_pooled": pooled, "match": 1.0},
            val_top1=0.5 + i / 10,
            reconstruction_logits=1 / logits,
            reconstruction_pooled=2 / pooled,
        )
        for i, (logits, pooled) in enumerate([(1, 8), (16, 4), (64, 2)])
    ]
    results = SimpleNamespace(
        metric="val_top1", ranked=lambda: trials, study=SimpleNamespace(name="bregman_ranks")
    )
    drawn = [(list(trace.x), list(trace.y)) for trace in script.ranks(results).data]
    accuracy = [0.5, 0.6, 0.7]
    assert drawn == [
        ([1, 16, 64], accuracy),
        ([1, 16, 64], [1, 1 / 16, 1 / 64]),
        ([8, 4, 2], accuracy),
        ([8, 4, 2], [1 / 4, 1 / 2, 1]),
    ]


def test_every_layer_that_is_drawn_has_a_rank_of_its_own(script):
    ranks = {f"rank_{layer}" for layer in script.LAYERS}
    assert ranks == {name for name in script.study.space if name.startswith("rank")}
    assert ranks <= set(script.study.defaults())

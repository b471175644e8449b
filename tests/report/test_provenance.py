import raykd
from raykd.report.provenance import origin
from raykd.report.results import Results


def test_says_how_the_study_was_made(study):
    text = origin(Results(study))
    for fact in (
        "python studies/glyphs_itrd.py --storage results",
        "0123456789ab-dirty",
        "torch 2.15.0",
        "x86_64, NVIDIA H200, node-7",
        "<dt>seed</dt><dd><code>0</code>",
        "beta_corr from 0.1 to 10, logarithmic",
        "optimizer = (SGD, lr = 0.05",
        "8 epochs, batch 64",
        "19 min 22 s",
        "the test set is evaluated for the record and never chosen by",
        study.folder.uri,
    ):
        assert fact in text


def test_needs_nothing_but_the_objective(made, tmp_path):
    store = raykd.open_store(tmp_path, create=True)
    with store.writer("bare", {"metric": ["val_top1"], "mode": ["max"]}):
        pass
    text = origin(Results(store.study("bare")))
    assert "validation accuracy" in text
    assert "None" not in text


def test_texts_are_escaped(made, tmp_path):
    text = origin(Results(made.hostile(tmp_path)))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text

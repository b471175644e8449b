"""The queries that the documents show, run as they stand there against a small store."""

import re
import sqlite3
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import raykd
from raykd.store import Trial

TOP = Path(__file__).parents[2]


def blocks(document, language):
    text = (TOP / document).read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert found
    return found


def queries(document):
    """Blocks of Python that open a store, with the store of this test in place of a bucket."""
    opening = [block for block in blocks(document, "python") if "open_store" in block]
    return [block.replace('"s3://bucket/raykd"', '"results"') for block in opening]


def run(code, names):
    """Executes a block; returns the value of each line that is an expression."""
    values = []
    for statement in re.findall(r"^\S.*(?:\n[ \t]+.*)*", code, flags=re.MULTILINE):
        try:
            values.append(eval(compile(statement, "document", "eval"), names))
        except SyntaxError:
            exec(compile(statement, "document", "exec"), names)
    return values


@pytest.fixture
def stored(made, tmp_path, monkeypatch):
    """A store of the studies that the documents name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("imagenet_itrd", "glyphs_itrd"):
        made.write(
            tmp_path / "results", [*made.teacher(), *made.references(), *made.search(24)], name=name
        )
    return raykd.open_store("results").study("imagenet_itrd")


@pytest.mark.parametrize("document", ["docs/storage.md", "README.md"])
def test_queries_in_python_answer(stored, document, capsys):
    for code in queries(document):
        values = run(code, {})
        asked = [line for line in code.splitlines() if line.startswith("study.")]
        assert len(values) >= len(asked) > 3
        for value in values:
            if isinstance(value, list) and value and isinstance(value[0], Trial):
                assert "teacher" not in {trial.role for trial in value}
            elif isinstance(value, pa.Table):
                assert value.num_rows
    if document == "README.md":
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == 3
        assert printed[0].endswith(stored.best()[0].checkpoint)


def test_the_sql_returns_the_best_trials(stored):
    [query] = blocks("docs/storage.md", "sql")
    query, replaced = re.subn(r"FROM '[^']*/trials\.parquet'", "FROM trials", query)
    assert replaced == 1
    with sqlite3.connect(":memory:") as database:
        stored.trials().to_pandas().to_sql("trials", database, index=False)
        rows = database.execute(query).fetchall()
    expected = [(t.id, t.config["alpha"], t.metrics["val_top1"]) for t in stored.best(5)]
    assert rows == expected


def test_pandas_reads_the_snapshot(stored):
    names = {}
    [code] = [block for block in blocks("docs/storage.md", "python") if "import json" in block]
    run(code, names)
    assert names["best"]["trial"].tolist() == [trial.id for trial in stored.best(5)]
    key = ["trial", "epoch", "name"]
    whole = stored.metrics().to_pandas().sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(
        names["metrics"].sort_values(key, ignore_index=True)[whole.columns], whole
    )


def test_polars_reads_the_snapshot(stored):
    pytest.importorskip("polars")
    names = {"manifest": max(Path("results/imagenet_itrd").glob("snapshot/*/manifest.json"))}
    [code] = [block for block in blocks("docs/storage.md", "python") if "import polars" in block]
    run(code, names)
    assert names["best"]["trial"].to_list() == [trial.id for trial in stored.best(5)]

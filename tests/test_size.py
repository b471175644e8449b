"""Files, functions and the loop stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("raykd/**/*.py"), *ROOT.glob("studies/*.py")])
FORBIDDEN = {"utils", "common", "helpers", "misc", "base_trainer"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300, "a file has at most 300 lines: split it by what it does"
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 60
    }
    assert not long, "a function has at most 60 lines"


def test_there_is_something_to_measure() -> None:
    assert len(SOURCES) > 50


def test_the_loop_is_the_smallest_of_all_promises() -> None:
    assert len((ROOT / "raykd/train/loop.py").read_text().splitlines()) < 150


def test_files_are_named_after_what_they_are() -> None:
    files = [
        path for folder in ("raykd", "studies", "tests") for path in ROOT.glob(f"{folder}/**/*")
    ]
    assert not [path for path in files if path.stem in FORBIDDEN]
    assert not [*ROOT.glob("tests/**/__init__.py")]

import json
import os
import subprocess
import sys
from argparse import Namespace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from raykd.models.find import factories

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    spec = spec_from_file_location("gpu", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_every_part_runs_without_rays_pyarrows_or_safetensors(tmp_path):
    missing = tmp_path / "missing"
    missing.mkdir()
    for name in ("ray", "optuna", "pyarrow", "safetensors", "boto3", "rich", "typer", "yaml"):
        (missing / f"{name}.py").write_text("raise ImportError('not on the GPU machine')\n")
    out = tmp_path / "out"
    command = [sys.executable, SCRIPT, "--out", out, "--device", "cpu", "--smoke"]
    env = {**os.environ, "PYTHONPATH": str(missing), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    results = read(out)
    assert [r["part"] for r in results if r.get("ended") == "complete"] == [
        "ceiling",
        "steps",
        "cohort",
        "speed",
    ]
    assert all(r["ok"] for r in results if "ok" in r)
    assert len([r for r in results if "step_ms" in r and r["step_ms"] > 0]) == 4
    summary = (out / "summary.md").read_text()
    assert "8 of 8 comparisons within tolerance" in summary
    assert "| R14 -> R8, 4 | bfloat16 | 2 |" in summary


def test_a_part_that_hangs_is_ended_at_its_limit(gpu, tmp_path):
    file = tmp_path / "results.jsonl"
    options = Namespace(out=tmp_path, device="cpu", smoke=True, part="steps")
    gpu.run_part(options, file, seconds=0.2)
    [end] = [line for line in read(tmp_path) if "ended" in line]
    assert end["ended"].startswith("stopped at its limit")


def test_every_family_of_models_is_compared(gpu):
    known = {factory.__module__.rpartition(".")[2] for factory in factories().values()}
    assert known <= gpu.FAMILIES.keys()
    assert all(gpu.network(name).__name__ == name for name in gpu.FAMILIES.values())

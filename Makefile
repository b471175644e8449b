# Everything below runs in .venv. requirements.txt has what `make study` needs, requirements-dev.txt what
# checks and tests need beside it; both are pinned with hashes.
PY := .venv/bin/python
PYTHON ?= python3
UV := 0.13.8
# Ray starts many processes; without bytecode each compiles torch again. Empty: written as usual.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: study test faults check lint format bench requirements clean

# On this machine alone, whatever `ray start` left here, unless the environment names a cluster.
study: export RAY_ADDRESS ?= local
study: .venv/.installed  ## the main job: a real ITRD study on offline data, a few minutes on two cores
	$(PY) studies/glyphs_itrd.py

test: lint  ## lint, types, import contracts, all tests
	$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not long"

faults: .venv/.complete  ## nodes that die, storage that fails: docs/reliability.md
	$(PY) -m pytest -s -m long

check: lint  ## the same without the slow tests
	$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow and not long"

lint: .venv/.complete
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: .venv/.complete
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.installed  ## side by side with the alternatives; prints the ratios of docs/benchmarks.md
	for b in cohort itrd views decode store; do $(PY) benchmarks/$$b.py || exit 1; done

.venv/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet uv==$(UV)
	.venv/bin/uv pip sync --quiet --python $(PY) --require-hashes requirements.txt
	.venv/bin/uv pip install --quiet --python $(PY) --no-deps --editable .
	$(PY) -c "import torch._dynamo" & $(PY) -c "import ray.tune, optuna, plotly, sklearn"; wait  # bytecode
	touch $@

.venv/.complete: .venv/.installed requirements-dev.txt
	.venv/bin/uv pip install --quiet --python $(PY) --no-deps --require-hashes --requirement requirements-dev.txt
	touch $@

# Resolves pyproject.toml again. No index lines, so that any mirror serves.
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make requirements" pyproject.toml
requirements:
	$(COMPILE) --extra offline --extra report --output-file requirements.txt
	$(COMPILE) --all-extras --constraint requirements.txt --output-file requirements-dev.txt \
	  $$(sed -n 's/^\([^ #]*\)==.*/--no-emit-package \1/p' requirements.txt)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

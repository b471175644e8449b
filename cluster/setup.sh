#!/usr/bin/env bash
# Installs the packages that requirements.txt pins. Every machine and the container image run this
# file, so versions are written down once, in pyproject.toml and requirements.txt. Running it again
# installs nothing. raykd itself travels with each job (ray job submit --working-dir .).
set -euo pipefail
export PATH="$HOME/raykd/venv/bin:$PATH" # own machines have an environment here; the Ray image has its own
pip install --quiet --no-deps --require-hashes -r "$(dirname "$0")/../requirements.txt"

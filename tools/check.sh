#!/usr/bin/env bash
# Everything CI runs. The tests come last, so that their closing line is the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
step() { printf '\n== %s\n' "$1"; }

step "notebooks and modules agree"
"$BIN/python" tools/check_sync.py
step "README.md is what nbs/index.ipynb says"
"$BIN/python" tools/make_readme.py --check
step "the site builds, and its links lead somewhere"
bash tools/site.sh
step "notebooks and tests"
# one process a core, at most four; threads that wait for others do not keep a core busy
OMP_WAIT_POLICY=passive exec "$BIN/python" -m pytest -q -n logical --maxprocesses 4 --dist loadfile

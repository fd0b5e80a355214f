#!/usr/bin/env bash
# Build the pages into _docs and check every link.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
if ! [ -x "$BIN/smalldocs" ]; then
    echo "no site: smalldocs needs Python 3.11 or newer, this is $("$BIN/python" -V)"
    exit 0
fi
"$BIN/python" tools/pages.py
rm -rf _docs
PATH="$PWD/$BIN:$PATH" "$BIN/smalldocs" render .
"$BIN/python" tools/check_links.py _docs

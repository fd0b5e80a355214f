#!/usr/bin/env python3
"""Run notebooks from top to bottom, save their outputs in place, and clean them.

    python tools/run_notebooks.py [--check] [--flags "slow gpu"] [NOTEBOOK ...]

Without names, every notebook in nbs/. A cell is skipped when nbdev_test would skip it: `#| eval: false`, or a flag
named by tst_flags in settings.ini; what such a cell saved earlier stays. A second run writes the same bytes.
`--check` writes nothing and fails if a run would change the file.
"""
import argparse
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "PYTHONHASHSEED": "0",
    "MATPLOTLIBRC": str(ROOT / "tools" / "matplotlibrc"),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "COLUMNS": "120",
}


def skips(source, flags):
    "Return True for a code cell that nbdev_test does not run."
    from execnb.nbio import mk_cell
    from nbdev.process import extract_directives

    directives = extract_directives(mk_cell(source), remove=False)
    off = (directives.get("eval:") or [""])[0].lower() == "false"
    return off or "nbdev_export" + "(" in source or bool(flags & directives.keys())


def execute(path, flags, timeout):
    "Run the notebook at `path` and return it with its new outputs."
    import nbformat
    from nbclient import NotebookClient

    class Client(NotebookClient):
        async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
            if cell.cell_type == "code" and skips(cell.source, flags):
                return cell
            return await super().async_execute_cell(cell, cell_index, *args, **kwargs)

    notebook = nbformat.read(path, as_version=4)
    os.environ.update(QUIET)
    Client(notebook, timeout=timeout, kernel_name="python3", record_timing=False, store_widget_state=False,
           coalesce_streams=True, extra_arguments=["--log-level=40"],
           resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def as_text(notebook):
    "Return the text nbdev_clean leaves of `notebook`."
    import json
    from execnb.nbio import nb2str
    from nbdev.clean import _nbdev_clean
    from nbformat import writes

    plain = json.loads(writes(notebook))  # cells and outputs as lists of lines
    _nbdev_clean(plain)
    text = nb2str(plain)
    return text if text.endswith("\n") else text + "\n"


def main():
    "Run the notebooks named on the command line."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook in nbs/")
    parser.add_argument("--flags", default="", help="flagged cells to run after all, for example 'slow'")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds one cell may take (default 1200)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if outputs would change")
    args = parser.parse_args()
    paths = [path.resolve() for path in args.notebooks] or sorted((ROOT / "nbs").glob("[!_.]*.ipynb"))
    missing = [path for path in paths if not path.is_file()]
    if missing:
        parser.error(f"no such notebook: {', '.join(map(str, missing))}")
    os.chdir(ROOT)
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbdev.config import get_config

    flags = set(get_config().tst_flags.split()) - set(args.flags.split())
    failed = []
    for path in paths:
        start, before = time.time(), path.read_text(encoding="utf-8")
        try:
            after = as_text(execute(path, flags, args.timeout))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"FAILED {path.name}\n{re.sub(chr(27) + r'[[][0-9;]*m', '', str(error))}", file=sys.stderr, flush=True)
            failed.append(path.name)
            continue
        changed = after != before
        if changed and args.check:
            failed.append(path.name)
        elif changed:
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_text(after, encoding="utf-8")
            os.replace(temporary, path)
        state = "unchanged" if not changed else "would change" if args.check else "saved"
        print(f"{path.name}: {state}, {time.time() - start:.0f} s, {len(after.encode()) // 1000} kB", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Collect every notebook in nbs/ as one test: its cells run from top to bottom in a process of their own.

`pytest nbs/46_embedded_data.ipynb` runs one; `--flags "slow gpu"` runs the cells that are normally left out.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
RUN = "import sys; from nbdev.test import nbdev_test; nbdev_test.__wrapped__(path=sys.argv[1], flags=sys.argv[2])"
sys.path.insert(0, str(ROOT / "tools"))
from run_notebooks import QUIET  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--flags", default="", help="flagged notebook cells to run after all, for example 'slow'")
    parser.addoption("--notebook-seconds", type=int, default=1200, help="time limit of one notebook (default 1200)")


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".ipynb" and file_path.parent == ROOT / "nbs" and file_path.name[0] not in "_.":
        return Notebook.from_parent(parent, path=file_path)


class Notebook(pytest.File):
    def collect(self):
        yield Run.from_parent(self, name="cells")


class Failed(Exception):
    "A notebook did not run to its end."


class Run(pytest.Item):
    def runtest(self):
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RUN, str(self.path), self.config.getoption("--flags")]
        limit = self.config.getoption("--notebook-seconds")
        quiet = {name: value for name, value in QUIET.items() if name != "MPLBACKEND"}
        try:
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, **quiet}, timeout=limit,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.path.name} took more than {limit} s") from None
        if done.returncode or "Success." not in done.stdout:
            raise Failed(done.stdout or f"exit code {done.returncode}")

    def repr_failure(self, excinfo):
        return str(excinfo.value) if isinstance(excinfo.value, Failed) else super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"notebook {self.path.name}"

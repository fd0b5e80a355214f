"""A benchmark that is killed leaves no process and no half-written file, and started again makes only what is missing, with the same table."""
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from scipy import sparse

from saetm.cli import main
from saetm.data import load_corpus

COMMAND = [sys.executable, "-c", "from saetm.cli import main; raise SystemExit(main())", "benchmark"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
SMALL = ["steps=60", "n_latents=48", "k=4"]
WRONG = "tweets, etm, T=5, seed 0"      # batch_size=1 is refused by the model, in its process
OPTIONS = ["--models", "saetm", "saetm-paper", "lda", "etm", "--n-topics", "5", "--seeds", "0", "--encoder", "wordllama", "--judge", "none",
           "--set", *(f"{model}.{setting}" for model in ("saetm", "saetm-paper") for setting in SMALL), "lda.passes=4", "etm.batch_size=1"]
MEASURED = ("machine", "peak_memory", "seconds")       # columns that no second run repeats


def arguments(source, run): return ["--run", str(run), "--corpora", str(source), *OPTIONS, "--jobs", "2"]


def start(source, run):
    "Start a benchmark as a process of its own."
    return subprocess.Popen([*COMMAND, *arguments(source, run)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def call(source, run, *more):
    "Run the same command here; return what it said."
    with contextlib.redirect_stdout(io.StringIO()) as said: assert main(["benchmark", *arguments(source, run), *more]) == 0
    return said.getvalue()


def wait_until(process, ready):
    "Wait until `ready()` gives something while the process runs; return it."
    limit = time.monotonic() + 120
    while not (found := ready()):
        assert process.poll() is None, f"the benchmark ended before it could be killed: {process.stdout.read()}"
        assert time.monotonic() < limit, "the benchmark never got to where it is killed"
        time.sleep(.005)
    return found


def workers(process):
    "The processes that fit cells, the oldest first."
    found = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return sorted(found, key=lambda child: child.create_time())


def written(run):
    "When each file was written that a second run must leave alone."
    files = [path for pattern in ("corpora/**/*", "saes/**/*", "cells/**/*") for path in run.glob(pattern) if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files}


def finished(run): return [path.parent for path in run.glob("cells/*/*/*/scores.json")]


def check_files(run):
    "Read every file of the cells and SAEs, so that a half-written one is noticed."
    for path in [*run.glob("cells/**/*.json"), *run.glob("saes/**/*.json")]: json.loads(path.read_text())
    for path in run.glob("cells/**/shares.npz"): sparse.load_npz(path)


def table(run):
    "The table without what was measured of time and machine."
    found = pd.read_parquet(run / "benchmark.parquet")
    return found[[name for name in found if not name.endswith(MEASURED) and "seconds" not in name]]


def leftovers(run): return [path for path in run.rglob(".*") if path.is_file()]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "tweets.parquet"
    tweets = load_corpus("tweets").text.tolist()
    pd.DataFrame(dict(text=[" ".join(tweets[i * 4:i * 4 + 4]) for i in range(300)])).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    "A benchmark that nobody interrupts, with one cell that fails."
    run = tmp_path_factory.mktemp("whole") / "run"
    said = call(source, run)
    assert f"{WRONG}: failed" in said and "3 scored, 1 failed" in said
    return run


@pytest.fixture
def run(whole, tmp_path):
    "A benchmark whose corpus is prepared and nothing more."
    shutil.copytree(whole / "corpora", tmp_path / "run" / "corpora")
    return tmp_path / "run"


def test_a_failed_cell_is_a_row(whole):
    found = pd.read_parquet(whole / "benchmark.parquet").set_index("model")
    assert found.status.to_dict() == {"saetm": "scored", "saetm-paper": "scored", "lda": "scored", "etm": "failed"}
    assert found.error["etm"].startswith("ValueError: batch_size must be a whole number, at least 2, got 1")
    assert found.npmi.drop("etm").notna().all() and found.npmi.isna()["etm"]
    assert f"- failed: {WRONG.replace('T=5', 'T = 5')}: ValueError" in (whole / "benchmark.md").read_text()
    assert leftovers(whole) == []


def test_a_killed_benchmark_takes_its_processes_with_it_and_goes_on(whole, source, run):
    process = start(source, run)
    wait_until(process, lambda: finished(run))
    children = wait_until(process, lambda: workers(process))
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()
    assert psutil.wait_procs(children, timeout=30)[1] == [], "a process that fits cells outlived the benchmark"
    check_files(run)
    kept = {path: when for path, when in written(run).items() if path.parent in finished(run) or "corpora" in path.parts}
    assert 1 <= len(finished(run)) < 3 and not (run / "benchmark.parquet").exists()

    said = call(source, run)
    assert f"{WRONG}: failed" in said and "3 scored, 1 failed" in said
    assert [str(path) for path, before in kept.items() if path.stat().st_mtime_ns != before] == [], "a finished cell was made again"
    pd.testing.assert_frame_equal(table(run), table(whole))
    assert leftovers(run) == [], "leftovers of the killed processes"


def test_a_killed_worker_is_a_failed_cell_and_no_more(whole, source, run):
    process = start(source, run)
    wait_until(process, lambda: list(run.glob("saes/*/*/*/cost.json")))     # an SAE is trained, its topics are not there yet
    workers(process)[0].kill()                                              # the first job is that of saetm's own models
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "tweets, saetm, T=5, seed 0: failed" in said and "tweets, lda, T=5, seed 0: scored" in said and "1 scored, 3 failed" in said, said
    found = pd.read_parquet(run / "benchmark.parquet").set_index("model")
    assert found.error["saetm"].startswith("the process ended with signal 9")
    check_files(run)

    kept = written(run)
    call(source, run)                                                       # failed cells stay so unless one asks
    assert written(run) == kept

    kept = {path: when for path, when in kept.items() if path.parent in finished(run) or "corpora" in path.parts or "saes" in path.parts}
    call(source, run, "--retry")
    assert [str(path) for path, before in kept.items() if path.stat().st_mtime_ns != before] == [], "a finished cell or the SAE was made again"
    pd.testing.assert_frame_equal(table(run), table(whole))
    assert leftovers(run) == []

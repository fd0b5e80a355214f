"""Embedding killed in the middle and run again ends in the same files as a run in one piece."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from saetm.embedding import embed_to_shards

def slow(texts):
    time.sleep(float(sys.argv[2]))
    return [[len(t), sum(map(ord, t)) % 997, t.count("e")] for t in texts]

docs = [f"document {i} " + "see the sea " * (i % 7) for i in range(400)]
embed_to_shards(docs, sys.argv[1], slow, shard_rows=50, batch_size=10)
"""


def start(script, folder, pause):
    "Start the script as a process of its own."
    return subprocess.Popen([sys.executable, script, folder, str(pause)], env=os.environ | {"OMP_NUM_THREADS": "1"})


def files(folder):
    "Read every file of a folder."
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The script, and the files of a run that nobody interrupts."
    folder = tmp_path_factory.mktemp("embedding")
    (folder / "script.py").write_text(SCRIPT)
    assert start(folder / "script.py", folder / "whole", 0).wait(timeout=120) == 0
    return folder / "script.py", files(folder / "whole")


def kill_after(script, folder, n_shards):
    "Kill the run with SIGKILL as soon as it has written some shards."
    process, limit = start(script, folder, .05), time.monotonic() + 120
    while len(list(folder.glob("0*.npy"))) < n_shards:
        assert process.poll() is None and time.monotonic() < limit, "the run ended before it could be killed"
        time.sleep(.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("n_shards", [1, 4])
def test_killed_and_run_again(whole, tmp_path, n_shards):
    script, expected = whole
    folder = tmp_path / "killed"
    kill_after(script, folder, n_shards)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is False and len(list(folder.glob("0*.npy"))) < 8
    (folder / ".00007.1.partial.npy").write_bytes(b"half a shard")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("0*.npy")}
    assert start(script, folder, 0).wait(timeout=120) == 0
    assert files(folder) == expected
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), "a finished shard was written again"


def test_unfinished_run_is_named(whole, tmp_path):
    from saetm.embedding import open_embeddings

    script, _ = whole
    kill_after(script, tmp_path / "killed", 2)
    with pytest.raises(ValueError, match=r"unfinished, \d+ of 400 rows: run `saetm embed` again"):
        open_embeddings(tmp_path / "killed")

"Rows come from shards as from an array: in runs, one by one, shuffled and read ahead; what is damaged is named, and threads end."
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from saetm.corpus import write_json
from saetm.embedding import open_embeddings
from saetm.training import Shuffle

ROWS, WIDTH, SHARD = 1000, 6, 96
SMALL = dict(memory_mb=0.001, window_mb=0.006, block=16)


def make_shards(folder, dtype):
    rows = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(dtype)
    folder.mkdir()
    for index in range(-(-ROWS // SHARD)): np.save(folder / f"{index:05d}.npy", rows[index * SHARD:(index + 1) * SHARD])
    write_json(folder / "manifest.json", dict(rows=ROWS, shard_rows=SHARD, dtype=dtype, encoder="random", width=WIDTH, complete=True))
    return open_embeddings(folder), rows.astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_of_shards(tmp_path, dtype):
    emb, rows = make_shards(tmp_path / "emb", dtype)
    rng = np.random.default_rng(1)
    blocks = (rng.permutation(ROWS // 32)[:, None] * 32 + np.arange(32)).ravel()
    for wanted in (np.arange(ROWS), np.sort(blocks[:320]), blocks, rng.integers(ROWS, size=50), np.r_[5:200, 3, 3, 190:250], np.array([-1, 0])):
        found = emb[wanted]
        assert found.dtype == np.float32 and np.array_equal(found, rows[wanted])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_batches_of_shards_are_those_of_the_array(tmp_path, dtype):
    emb, rows = make_shards(tmp_path / "emb", dtype)
    np.save(tmp_path / "emb.npy", rows)
    shuffles = [Shuffle(source, 64, 3, **SMALL) for source in (emb, rows, np.load(tmp_path / "emb.npy", mmap_mode="r"), np.asfortranarray(rows))]
    for i in [*range(40), 7, 25, 26, 0]:                     # in order, and back as after a crash
        first, *others = [shuffle(i) for shuffle in shuffles]
        assert first.dtype == torch.float32 and all(torch.equal(first, other) for other in others)
    held = [Shuffle(source, 64, 3) for source in (emb, rows)]
    assert all(torch.equal(held[0](i), held[1](i)) for i in range(40))


def test_batches_stay_what_they_were(tmp_path):
    emb, rows = make_shards(tmp_path / "emb", "float32")
    shuffle = Shuffle(emb, 50, **SMALL)
    batches = torch.cat([shuffle(i) for i in range(20)])
    assert np.array_equal(np.sort(batches.numpy(), 0), np.sort(rows, 0))


def test_damaged_shard_is_named_and_the_thread_ends(tmp_path):
    emb, _ = make_shards(tmp_path / "emb", "float32")
    with open(tmp_path / "emb" / "00003.npy", "rb+") as file: file.truncate(500)
    with pytest.raises(ValueError, match="00003.npy ends before row .*: it is damaged"):
        shuffle = Shuffle(emb, 64, **SMALL)
        for i in range(20): shuffle(i)
    for thread in threading.enumerate():
        if thread.name == "saetm-read-ahead": thread.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "saetm-read-ahead"]


def test_program_ends_while_a_slow_window_is_read():
    program = """
import time, numpy as np
from saetm.training import Shuffle
class Slow:
    shape, reads = (1000, 4), 0
    def __getitem__(self, rows):
        Slow.reads += 1
        if Slow.reads > 1: time.sleep(600)
        return np.zeros((len(rows), 4), np.float32)
print(tuple(Shuffle(Slow(), 64, memory_mb=0.001, window_mb=0.006, block=16)(0).shape))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=dict(os.environ, OMP_NUM_THREADS="1"))
    assert done.returncode == 0 and done.stdout.strip() == "(64, 4)", done.stderr

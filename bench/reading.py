#!/usr/bin/env python3
"""Shuffled batches from shards on disk, in gigabytes per second, against a plain read of the same bytes and against single random rows.

Writes shards of random numbers (float32, then float16), and reads them in turn, all in one process, by wall clock: one pass of `Shuffle` in windows of blocks (`memory_mb=0`, so that nothing is held), the
files from beginning to end into one buffer, batches of single random rows, picked by an index array, and picked one by one in Python. *Warm*: the files are in the system's cache. *Cold*: it was asked to drop them
before each pass (`posix_fadvise`); what lies below, a virtual disk for instance, may still hold them. Bytes are those in the files. Ends with one JSON line: `ratio` is the shuffled pass against the plain read, warm, float32;
`agree` is the largest difference between what a pass delivered and what the files hold, over sums of columns.

    python bench/reading.py [--gb 1] [--folder DIR] [--rounds 3]
"""
import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from saetm.corpus import write_json
from saetm.embedding import open_embeddings
from saetm.training import Shuffle

WIDTH, SHARD, BATCH = 384, 8192, 1024


def write_shards(folder, gb, dtype):
    "Shards of random numbers."
    rows = int(gb * 1e9 / (WIDTH * np.dtype(dtype).itemsize)) // SHARD * SHARD
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(rows // SHARD): np.save(folder / f"{index:05d}.npy", rng.random((SHARD, WIDTH), np.float32).astype(dtype))
    write_json(folder / "manifest.json", dict(rows=rows, shard_rows=SHARD, dtype=dtype, encoder="random", checksum="", width=WIDTH, precision=None, complete=True))
    os.sync()
    return open_embeddings(folder)


def drop(emb):
    "Ask the system to forget the files."
    for path in emb.folder.glob("*.npy"):
        with open(path, "rb") as file: os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain(emb):
    "Read every file into the same buffer."
    buffer = np.empty((SHARD, WIDTH), emb.manifest["dtype"])
    for path in sorted(emb.folder.glob("*.npy")):
        with open(path, "rb") as file:
            file.seek(os.fstat(file.fileno()).st_size - buffer.nbytes)
            file.readinto(buffer)
    return len(emb)


def shuffled(emb, passes={}):
    "The next pass of batches of a `Shuffle` in use."
    shuffle, number = passes.get(emb.folder) or (Shuffle(emb, BATCH, memory_mb=0), 0)
    passes[emb.folder] = shuffle, number + 1
    for i in range(len(emb) // BATCH): shuffle(number * (len(emb) // BATCH) + i)
    return len(emb) // BATCH * BATCH


def random_rows(emb, batches=20):
    "Batches of rows from anywhere."
    rng = np.random.default_rng(time.time_ns())
    for _ in range(batches): torch.from_numpy(emb[rng.integers(len(emb), size=BATCH)])
    return batches * BATCH


def one_by_one(emb, batches=1):
    "The same, a row at a time."
    rng = np.random.default_rng(time.time_ns())
    for _ in range(batches): torch.stack([torch.from_numpy(emb[int(i)]) for i in rng.integers(len(emb), size=BATCH)])
    return batches * BATCH


def rate(read, emb, cold):
    if cold: drop(emb)
    start = time.perf_counter()
    rows = read(emb)
    return rows * WIDTH * np.dtype(emb.manifest["dtype"]).itemsize / (time.perf_counter() - start) / 1e9


def difference(emb):
    "Largest relative difference of a column's sum over a pass."
    shuffle = Shuffle(emb, BATCH, memory_mb=0)
    found = sum(shuffle(i).double().sum(0) for i in range(len(emb) // BATCH))
    wanted = sum(torch.from_numpy(shard).double().sum(0) for shard in emb.shards())
    return float(((found - wanted) / wanted).abs().max())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gb", type=float, default=1.0)
    arguments.add_argument("--folder", help="where to write the shards for a while; a temporary folder otherwise")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    found, agree, ratios = {}, 0.0, []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for dtype in ("float32", "float16"):
            emb = write_shards(Path(folder) / dtype, arguments.gb, dtype)
            agree = max(agree, difference(emb))
            shuffled(emb)
            for cold in (False, True):
                rates = [{read.__name__: rate(read, emb, cold) for read in (plain, shuffled, random_rows, one_by_one)} for _ in range(arguments.rounds)]
                middle = {name: round(statistics.median(r[name] for r in rates), 3) for name in rates[0]}
                found[f"{dtype}, {'cold' if cold else 'warm'}"] = middle
                print(f"{dtype}, {'cold' if cold else 'warm'}, GB/s: " + ", ".join(f"{name} {value}" for name, value in middle.items()), flush=True)
                if not ratios: ratios = [round(r["shuffled"] / r["plain"], 2) for r in rates]
            drop(emb)
    machine = dict(processor=platform.machine(), cores=os.cpu_count(), torch=torch.__version__, numpy=np.__version__)
    print(json.dumps(dict(bench="reading", ratio=statistics.median(ratios), ratios=ratios, agree=agree, gb_per_second=found, machine=machine)))


if __name__ == "__main__":
    main()

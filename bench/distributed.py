#!/usr/bin/env python3
"""Two processes (gloo) against one: the same loss curve, the same emission, and samples per second of wall-clock time.

Starts itself under torchrun with 1 and 2 processes in turn, one thread each. Every round trains an SAE (F = 1536, k = 32)
by the loop of `fit_sae` with batches of several sizes, and takes passes over the words of Wikipedia, fifty times over.
Reading, gradient, exchange and Adam are in the time, start and measuring are not. `ratio` is the median over rounds of the
throughput of two processes by that of one, at the batch size named `ratio_batch`; the others are in `ratios_by_name`, with
passes of the emission. `ratios_by_cpu` has documents per second of processor time of the busier process in place of
wall-clock time: what is left where no other work takes the cores, and sending takes no time.

Before that, a longer run of `fit_sae` in each, in float32 and in the precision that `fit_sae` picks: `loss_off_float32` and
`loss_off_auto` are the largest relative differences of the loss curves, `loss_off_100` those of the first 100 steps in
float32, `emission_off` the largest difference of an entry of the emission that is learned from the same features.
`exchange_ms` is the time of one sum of all gradients. Ends with one JSON line.

    python bench/distributed.py [--embeddings FILE.npy] [--rounds 5] [--steps 30] [--check-steps 200] [--sizes 1024 4096]
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LATENTS, K, COPIES = 1536, 32, 50


def embeddings(path):
    "Return Wikipedia's embeddings: those of the file, or static ones made anew."
    if path: return np.load(path)
    from saetm import load_corpus
    from saetm.embedding import embed
    return embed(load_corpus("wikipedia").text.tolist(), "wordllama")


def throughput(emb, batch_size, steps, warm=5):
    "Train for some steps, and return documents per second of wall-clock time and milliseconds of a sum of all gradients."
    import torch
    from saetm.embedding import pick_precision
    from saetm.ranks import sum_, wait
    from saetm.sae import SAE, set_scaling_
    from saetm.fast.sae_cpu import SparseStep
    from saetm.training import Shuffle, fit, start_at_documents_, warm_then_decay
    times = {}
    sae = start_at_documents_(set_scaling_(SAE(emb.shape[1], LATENTS, "topk", K), emb), emb)
    step = SparseStep(sae, bf16=pick_precision("cpu") == "bfloat16", numba=bool(find_spec("numba")))
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-3, fused=True)
    wait()
    def note(i, values): times[i] = np.array([time.perf_counter(), time.process_time()])
    fit(step, Shuffle(emb, batch_size), steps + warm, optimizer, warm_then_decay(10 * steps), step.after, note, warm)
    flat, start = torch.zeros(sum(p.numel() for p in sae.parameters())), time.perf_counter()
    for _ in range(5): sum_(flat)
    return rates(batch_size * steps, times[steps + warm] - times[warm]), (time.perf_counter() - start) / 5 * 1e3


def rates(n_docs, seconds):
    "Return documents per second of wall-clock time, and per second of processor time of the busier process."
    from saetm.ranks import gather
    return [n_docs / seconds[0], n_docs / max(gather(seconds[1]))]


def work(arguments):
    "Do in one of the processes what is asked, and write what was found."
    import torch
    from scipy import sparse
    from saetm import load_corpus
    from saetm.corpus import count_words
    from saetm.emission import em_pass, fit_background, theta_from_acts
    from saetm.word_fitting import fit_emission, pick_visit
    from saetm.ranks import is_first, joined, part, size, stack_rows, wait
    from saetm.sae import SAE, encode_sparse, set_scaling_
    from saetm.sae_fitting import fit_sae
    from saetm.training import start_at_documents_
    torch.set_num_threads(1)
    emb, found, folder = embeddings(arguments.embeddings), {}, Path(arguments.worker)
    bow = count_words(load_corpus("wikipedia").text.tolist()).counts
    with joined():
        if arguments.check_steps:
            for name in ("float32", "auto"):
                losses = []
                def note(i, values): losses.append(values["loss"])
                sae = fit_sae(emb, n_latents=LATENTS, k=K, steps=arguments.check_steps, precision=name, every=1, on_step=note)
                found[f"losses_{name}"] = losses
            sae = start_at_documents_(set_scaling_(SAE(emb.shape[1], LATENTS, "topk", K), emb), emb)
            theta = theta_from_acts(stack_rows(encode_sparse(sae, emb[part(len(emb))])))
            emission = fit_emission(theta, bow, numba=bool(find_spec("numba"))).emission
            if is_first(): np.save(folder / f"emission-{size()}.npy", emission.toarray())
        else:
            for batch_size in arguments.sizes: found[f"batch_{batch_size}"], found["exchange_ms"] = throughput(emb, batch_size, max(8, arguments.steps * 1024 // batch_size))
            rng, bow = np.random.default_rng(0), sparse.vstack([bow] * COPIES, format="csr")
            n_docs = bow.shape[0]
            theta = theta_from_acts(sparse.csr_matrix((rng.exponential(size=K * n_docs), rng.integers(LATENTS, size=K * n_docs), np.arange(0, K * n_docs + 1, K)), shape=(n_docs, LATENTS)))
            own = np.zeros(n_docs, bool)
            own[part(n_docs)] = True
            settings = dict(background=fit_background(bow), visit=pick_visit(bow), rows=own, over_ranks=size() > 1)
            emission = em_pass(theta, bow, None, **settings).emission
            wait()
            start = np.array([time.perf_counter(), time.process_time()])
            emission = em_pass(theta, bow, emission, **settings).emission
            found["emission"] = rates(n_docs, np.array([time.perf_counter(), time.process_time()]) - start)
        if is_first(): (folder / f"found-{size()}.json").write_text(json.dumps(found))


def start(n, folder, arguments, check_steps):
    "Run this script in `n` processes and return what they found."
    given = [f"--embeddings={arguments.embeddings}"] if arguments.embeddings else []
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "--", __file__, "--worker", folder, "--check-steps", str(check_steps),
               "--steps", str(arguments.steps), "--sizes", *map(str, arguments.sizes), *given]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}, capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stderr[-3000:])
    return json.loads((Path(folder) / f"found-{n}.json").read_text())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--embeddings", help="a .npy file with embeddings of the Wikipedia corpus; static ones otherwise")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=60, help="steps of 1,024 documents a round")
    arguments.add_argument("--check-steps", type=int, default=200, help="steps of the loss curves that are compared; 0 compares none")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096], help="documents of a batch")
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.worker: return work(arguments)
    rates, off = [], {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.check_steps:
            curves = [start(n, folder, arguments, arguments.check_steps) for n in (1, 2)]
            for name in ("float32", "auto"):
                one, two = (np.array(found[f"losses_{name}"]) for found in curves)
                off[f"loss_off_{name}"] = float((np.abs(one - two) / one).max())
                if name == "float32": off["loss_off_100"] = float((np.abs(one - two) / one)[:100].max())
            off["emission_off"] = float(np.abs(np.load(f"{folder}/emission-1.npy") - np.load(f"{folder}/emission-2.npy")).max())
            print(", ".join(f"{name} {value:.1e}" for name, value in off.items()), flush=True)
        for number in range(arguments.rounds):
            rates.append([start(n, folder, arguments, 0) for n in ((1, 2), (2, 1))[number % 2]][::1 if number % 2 == 0 else -1])
            print(f"round {number + 1}, documents a second, one process and two: " + ", ".join(f"{name} {one[0]:.0f} {two[0]:.0f}" for (name, one), two in zip(rates[-1][0].items(), rates[-1][1].values()) if name != "exchange_ms"), flush=True)
    if not rates: return
    names, largest = [name for name in rates[0][0] if name != "exchange_ms"], max(arguments.sizes)
    ratios = {name: [two[name][0] / one[name][0] for one, two in rates] for name in names}
    by_cpu = {name: round(statistics.median(two[name][1] / one[name][1] for one, two in rates), 2) for name in names}
    middle = {name: round(statistics.median(values), 2) for name, values in ratios.items()}
    machine = dict(processor=platform.machine(), cores=os.cpu_count(), threads_a_process=1, torch=__import__("torch").__version__, backend="gloo")
    print(json.dumps(dict(bench="distributed", ratio=middle[f"batch_{largest}"], ratio_batch=largest, ratios=[round(value, 2) for value in ratios[f"batch_{largest}"]], ratios_by_name=middle, ratios_by_cpu=by_cpu,
                          exchange_ms=round(statistics.median(two["exchange_ms"] for _, two in rates), 1), agree=off.get("loss_off_float32"), **off, machine=machine)))


if __name__ == "__main__":
    main()

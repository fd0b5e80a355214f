#!/usr/bin/env python3
"""Training step of `fit_sae` against the usual one, in samples per second of processor time.

The usual one: rows fetched one at a time and stacked, float32, autograd, a top-k over the flattened batch, a revival loss
on all features with the living ones masked, the decoder's gradient projected and its rows normalised, clipped
gradients (at a norm never reached here, so that the results can be compared), torch's Adam, a running threshold. Both train the same SAE on the same data in one process, in turn.
`fit_sae` computes the encoder's product in bfloat16 where the processor has instructions for it, and long trainings use compiled loops where numba is installed; that is `ratio`. `plain_loops` is without
numba, `float32` with it and all in float32. Ends with one JSON line;
`agree` is the largest relative difference of a parameter after one step of each in float32 from the same weights on the same batch.

    python bench/train.py [--embeddings FILE.npy] [--steps 40] [--rounds 5] [--threads 1]
"""
import argparse
import copy
import json
import os
import platform
import statistics
import time
from importlib.util import find_spec

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a waiting thread must not count as work

import numpy as np
import torch

from saetm.embedding import pick_precision
from saetm.fast.sae_cpu import SparseStep
from saetm.sae import SAE, set_scaling_
from saetm.training import Shuffle, start_at_documents_

WIDTH, LATENTS, K, BATCH, LR = 384, 1536, 32, 1024, 1e-3


def make_embeddings(n_docs=10_000, seed=0):
    "Unit vectors around 200 centres, when no file is given."
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, WIDTH))[rng.integers(200, size=n_docs)] + rng.normal(size=(n_docs, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def read_rows(emb, seed=0):
    "Yield batches made of single rows."
    emb, rng = torch.from_numpy(emb), np.random.default_rng(seed)
    rows = []
    while True:
        for i in rng.permutation(len(emb)):
            rows.append(emb[i])
            if len(rows) == BATCH:
                yield torch.stack(rows)
                rows = []


class UsualStep:
    "One step at a time by autograd, everything dense."

    def __init__(self, sae, dead_after=30_000):
        self.sae, self.dead_after = sae, dead_after
        self.optimizer = torch.optim.Adam(sae.parameters(), lr=LR)
        self.idle, self.threshold = torch.zeros(LATENTS, dtype=torch.long), -1.0

    def __call__(self, emb):
        sae, x = self.sae, self.sae.normalize(emb)
        post = sae.pre_acts(x).relu()
        best = post.flatten().topk(K * len(x), sorted=False)
        acts = torch.zeros_like(post).flatten().scatter(0, best.indices, best.values).view_as(post)
        with torch.no_grad():
            lowest = float(acts[acts > 0].min())
            self.threshold = lowest if self.threshold < 0 else 0.999 * self.threshold + 0.001 * lowest
            self.idle += len(x)
            self.idle[acts.sum(0) > 0] = 0
        recon = acts @ sae.W_dec + sae.b_dec
        error = x - recon
        loss = error.square().sum(1).mean() + self.revival(post, error.detach()) / 32
        loss.backward()
        with torch.no_grad():
            unit = sae.W_dec / (sae.W_dec.norm(dim=1, keepdim=True) + 1e-6)
            sae.W_dec.grad -= (sae.W_dec.grad * unit).sum(1, keepdim=True) * unit
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 10.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
        return loss.item()

    def revival(self, post, error):
        dead = self.idle >= self.dead_after
        if not dead.any():
            return torch.zeros(())
        best = torch.where(dead[None], post, -torch.inf).topk(min(WIDTH // 2, int(dead.sum())), sorted=False)
        acts = torch.zeros_like(post).scatter(1, best.indices, best.values)
        variance = (error - error.mean(0)).square().sum(1).mean()
        return (error - acts @ self.sae.W_dec).square().sum(1).mean() / variance


class OurStep:
    "The step of `fit_sae`."

    def __init__(self, sae, precision, numba):
        self.step = SparseStep(sae, dead_after=30_000, bf16=precision == "bfloat16", numba=numba)
        self.optimizer = torch.optim.Adam(sae.parameters(), lr=LR, fused=True)

    def __call__(self, emb):
        values = self.step(emb)
        self.optimizer.step()
        self.step.after()
        return values["loss"]


def difference(sae, batch):
    "Largest relative difference of a parameter after one step of each."
    ours, usual = copy.deepcopy(sae), copy.deepcopy(sae)
    OurStep(ours, "float32", bool(find_spec("numba")))(batch), UsualStep(usual)(batch)
    return max(float(((a - b).norm() / b.norm().clamp(min=1e-12)).detach()) for (_, a), (_, b) in zip(ours.named_parameters(), usual.named_parameters()))


def samples_per_second(step, batches, steps):
    start = time.process_time()
    for _ in range(steps):
        step(next(batches))
    return steps * BATCH / (time.process_time() - start)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--embeddings", help="a .npy file of width 384; clustered unit vectors otherwise")
    arguments.add_argument("--steps", type=int, default=40, help="steps of each a round")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=1)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    emb = np.load(arguments.embeddings) if arguments.embeddings else make_embeddings()
    sae = set_scaling_(SAE(WIDTH, LATENTS, k=K), emb)
    start_at_documents_(sae, emb)
    shuffle = Shuffle(emb, BATCH)
    agree = difference(sae, shuffle(0))
    precision, numba, new = pick_precision("cpu"), bool(find_spec("numba")), lambda: copy.deepcopy(sae)
    steps = dict(ours=OurStep(new(), precision, numba), plain_loops=OurStep(new(), precision, False), float32=OurStep(new(), "float32", numba), usual=UsualStep(new()))
    batches = {name: read_rows(emb) if name == "usual" else map(shuffle, range(10**9)) for name in steps}
    for name, step in steps.items(): samples_per_second(step, batches[name], 5)
    rates = []
    for number in range(arguments.rounds):
        rates.append({name: samples_per_second(step, batches[name], arguments.steps) for name, step in steps.items()})
        print(f"round {number + 1}, samples per second of processor time: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates[-1].items()), flush=True)
    middle = {name: statistics.median(rate[name] for rate in rates) for name in steps}
    ratios = [rate["ours"] / rate["usual"] for rate in rates]
    others = {name: round(statistics.median(rate[name] / rate["usual"] for rate in rates), 2) for name in ("plain_loops", "float32")}
    machine = dict(processor=platform.machine(), cores=os.cpu_count(), threads=arguments.threads, torch=torch.__version__)
    print(json.dumps(dict(bench="train", ratio=round(statistics.median(ratios), 2), ratios=[round(r, 2) for r in ratios], ratio_of_others=others, precision=precision, numba=numba,
                          agree=agree, samples={name: round(rate, -1) for name, rate in middle.items()}, machine=machine)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What the fast training step costs in quality: nothing, or more than the seed does?

Trains the same SAE by the plain step (`sae_loss` and autograd, everything dense, float32) and by the step of `fit_sae` (gradient by hand) in float32, in bfloat16, and in bfloat16 with compiled loops, each with
several seeds. The seed chooses the first atoms and the order of the batches, the same for all four. The SAE is trained on nine tenths of the documents; explained variance, L0 and dead share are measured
on these, and again on the other tenth; perplexity is that of the other tenth's words once the features have words (`fit_emission`). `--write` keeps a row a run, `--table` prints the table of such a file.

    python bench/training_quality.py --run runs/benchmark [--seeds 0 1 2] --write results/training_quality.csv
    python bench/training_quality.py --table results/training_quality.csv

On a processor without instructions for bfloat16 its product is computed in float32 from rounded numbers, and rounded, which is what those instructions do; the seconds of these rows then say nothing.

`--run` is the folder of a benchmark (`saetm benchmark`), whose embeddings and word counts are used.
"""
import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from saetm.corpus import atomic_path, load_bow
from saetm.embedding import open_embeddings, pick_precision
from saetm.fast.sae_cpu import SparseStep, has_sparse_gradient
from saetm.emission import perplexity, theta_from_acts
from saetm.word_fitting import fit_emission
from saetm.sae import SAE, encode_sparse, set_scaling_, set_threshold_
from saetm.fast import sae_cpu
from saetm.training import SAEStep, Shuffle, default_lr, default_steps, fit, measure_sae, start_at_documents_, warm_then_decay

PATHS = dict(plain=dict(plain=True), float32=dict(), bfloat16=dict(bf16=True), compiled=dict(bf16=True, numba=True))


def rounded_product(sae, centred, bf16, product=sae_cpu.encoder_product):
    "What `encoder_product` computes, without a product of bfloat16 numbers."
    if not bf16: return product(sae, centred, bf16)
    return torch.addmm(sae.b_enc.bfloat16().float(), centred.bfloat16().float(), sae.W_enc.bfloat16().float()).bfloat16()


def train(emb, architecture, seed, **how):
    "What `fit_sae` does, with the step of your choice; and the CPU seconds of the loop."
    sae = SAE(emb.shape[1], 4 * emb.shape[1], architecture, seed=seed)
    start_at_documents_(set_scaling_(sae, emb), emb, seed=seed)
    make_step = SAEStep if how.pop("plain", False) or not has_sparse_gradient(sae) else SparseStep
    step, steps = make_step(sae, dead_after=min(3 * len(emb), 100_000), **(how if make_step is SparseStep else {})), default_steps(len(emb))
    optimizer = torch.optim.Adam(sae.parameters(), lr=default_lr(sae.n_latents), fused=True)
    start = time.process_time()
    fit(step, Shuffle(emb, seed=seed), steps, optimizer, warm_then_decay(steps), step.after)
    seconds = time.process_time() - start
    sae.requires_grad_(False)
    if architecture == "batch_topk": set_threshold_(sae, emb)
    return sae, seconds


def score(sae, emb, bow, held):
    "Quality of one SAE, on the documents it was trained on and on the others."
    seen, unseen = measure_sae(sae, emb[~held]), measure_sae(sae, emb[held])
    theta = theta_from_acts(encode_sparse(sae, emb, attribution=True))
    found = fit_emission(theta[~held], bow[~held])
    return dict(explained_variance=seen.explained_variance, l0=seen.l0, dead_share=seen.dead_share, unseen_variance=unseen.explained_variance, unseen_l0=unseen.l0,
                perplexity=perplexity(theta[held], bow[held], found.emission, found.background, found.pi))


def table(rows):
    "Mean of each path over seeds, and how far the plain path's seeds are apart, in Markdown."
    names = dict(explained_variance=4, l0=2, dead_share=4, unseen_variance=4, unseen_l0=2, perplexity=1)
    lines = ["| corpus | architecture | step | " + " | ".join(names) + " | CPU seconds |", "|---" * (len(names) + 4) + "|"]
    for (corpus, architecture), group in rows.groupby(["corpus", "architecture"], sort=False):
        cells = {path: [f"{value:.{digits}f}" for value, digits in zip(part[list(names)].mean(), names.values())] + [f"{part.seconds.mean():.0f}"] for path, part in group.groupby("path", sort=False)}
        plain = group[group.path == "plain"][list(names)]
        cells["*largest minus smallest of the plain seeds*"] = [f"{value:.{digits}f}" for value, digits in zip(plain.max() - plain.min(), names.values())] + [""]
        lines += [f"| {corpus} | {architecture} | {path} | " + " | ".join(values) + " |" for path, values in cells.items()]
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", help="folder of a benchmark")
    arguments.add_argument("--table", help="print the table of this .csv file, and do nothing else")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--docs", type=int, default=10_033, help="documents of a corpus, the first ones")
    arguments.add_argument("--write", help="a .csv file, a row a run")
    arguments = arguments.parse_args()
    if arguments.table: return print(table(pd.read_csv(arguments.table)))
    torch.set_num_threads(1)
    if pick_precision("cpu") != "bfloat16": sae_cpu.encoder_product = rounded_product
    rows = []
    for corpus, architecture in [("wikipedia", "topk"), ("tweets", "topk"), ("wikipedia", "batch_topk")]:
        folder = Path(arguments.run) / "corpora" / corpus
        emb, bow = np.asarray(open_embeddings(folder / "embeddings")[:arguments.docs]), load_bow(folder / "bow").counts[:arguments.docs]
        held = np.random.default_rng(0).permutation(len(emb)) < len(emb) // 10
        for seed in arguments.seeds:
            for path, how in PATHS.items():
                if path == "compiled" and not find_spec("numba"): continue
                sae, seconds = train(emb[~held], architecture, seed, **how)
                rows.append(dict(corpus=corpus, architecture=architecture, path=path, seed=seed, **score(sae, emb, bow, held), seconds=seconds))
                print(" ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in rows[-1].values()), flush=True)
    rows = pd.DataFrame(rows)
    if arguments.write:
        with atomic_path(Path(arguments.write)) as path: rows.round(6).to_csv(path, index=False)
    print(table(rows))


if __name__ == "__main__":
    main()

"""How well a TopK SAE finds planted atoms again, as one property of the data changes.

    python bench/recovery.py [--seeds 0 1 2 3 4]

Draws data with `sample_ctm`, 32 atoms in 32 dimensions, and trains 128 features. Writes results/recovery.csv, a row for each sweep, value and seed: mean matched
cosine, share of atoms above .9, explained variance, and the overlap of recovered with realised mixtures, by activation and by attribution.
"""
import argparse
import csv
import warnings

import numpy as np
import torch

from saetm.corpus import atomic_path
from saetm.ctm import match_atoms, plant_atoms, sample_ctm
from saetm.sae import encode_sparse
from saetm.sae_fitting import fit_sae

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
args = parser.parse_args()
torch.set_num_threads(1)
warnings.simplefilter("ignore", UserWarning)  # advice on documents without features: expected where the data are hard

SWEEPS = dict(n_docs=(250, 500, 1000, 2000, 4000, 8000), alpha=(0.03, 0.1, 0.3, 1, 3), coherence=(0, 0.5, 0.7, 0.8, 0.9, 0.95), noise=(0, 0.5, 1, 2, 4))


def recover(seed, n_docs=4000, alpha=0.1, coherence=0.0, noise=0.02 * 32**0.5):
    "Train on one planted sample and measure recovery."
    sample = sample_ctm(n_docs, plant_atoms(32, 32, coherence, seed), alpha=alpha, sigma=noise / 32**0.5, seed=seed)
    truth = sample.truth
    k = int(np.ceil((truth.theta > 0.05).sum(1).mean()))
    sae = fit_sae(sample.emb, n_latents=128, architecture="topk", k=k, steps=400, batch_size=512, lr=5e-3, seed=seed)
    atoms, (acts, explained) = sae.W_dec.numpy(), (encode_sparse(sae, sample.emb, attribution=kind) for kind in (False, True))
    group = np.eye(32)[(atoms @ truth.atoms.T).argmax(1)]
    cosine = match_atoms(atoms, truth.atoms).cosine
    overlaps = []
    for weights in (acts @ group, explained @ group):
        share = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
        overlaps.append(np.minimum(truth.theta, share).sum(1).mean())
    return dict(k=k, cosine=cosine.mean(), found=(cosine > 0.9).mean(), variance=sae.report.explained_variance, activation=overlaps[0], attribution=overlaps[1])


rows = []
for sweep, values in SWEEPS.items():
    for value in values:
        for seed in args.seeds:
            rows.append(dict(sweep=sweep, value=value, seed=seed, **{name: round(float(number), 4) for name, number in recover(seed, **{sweep: value}).items()}))
        print(sweep, value, {name: round(float(np.mean([row[name] for row in rows[-len(args.seeds):]])), 3) for name in ("cosine", "found", "activation")}, flush=True)
with atomic_path("results/recovery.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
    table = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)

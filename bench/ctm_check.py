"""Which assumptions of the continuous topic model real embeddings keep: the checks of notebook 10 on four corpora.

    python bench/ctm_check.py [--seeds 0 1 2]

Embeds each corpus with all-MiniLM-L6-v2, trains the default SAE on four fifths of the documents, and compares statistics of the other fifth with those of documents
drawn from the fitted model. Writes results/ctm_check.csv, a row for each corpus, seed and statistic.
"""
import argparse

import numpy as np
import pandas as pd
import torch

from saetm.corpus import atomic_path
from saetm.ctm import check_ctm
from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.sae_fitting import fit_sae
from saetm.training import measure_sae

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
args = parser.parse_args()

tables = []
for corpus in ("openmoji", "commons", "tweets", "wikipedia"):
    documents = load_corpus(corpus)
    if len(documents) > 10_033: documents = documents.sample(10_000, random_state=0)
    emb = np.asarray(embed_to_shards(documents["caption" if corpus == "openmoji" else "text"].tolist(), f"runs/ctm_check/{corpus}/embeddings"))
    for seed in args.seeds:
        order = np.random.default_rng(seed).permutation(len(emb))
        train, test = emb[np.sort(order[len(emb) // 5:])], emb[order[:len(emb) // 5]]
        # as many features as the documents can teach: a quarter of them, at most four times the width
        sae = fit_sae(train, n_latents=min(4 * emb.shape[1], len(train) // 4), seed=seed)
        x, atoms, bias = (sae.normalize(test) - sae.b_dec).numpy(), sae.W_dec.numpy(), sae.b_dec
        encode = lambda rows: sae.activation(sae, sae.pre_acts(torch.as_tensor(rows, dtype=torch.float32) + bias)).numpy()
        table = check_ctm(x, encode, atoms, seed=seed).round(4).rename_axis("statistic").reset_index()
        tables.append(table.assign(corpus=corpus, seed=seed, n_train=len(train), n_latents=sae.n_latents, explained_variance=round(measure_sae(sae, test).explained_variance, 4)))
        print(corpus, seed, tables[-1].set_index("statistic")[["data", "model"]].round(2).to_string(), flush=True)
        with atomic_path("results/ctm_check.csv") as path: pd.concat(tables).to_csv(path, index=False, lineterminator="\n")

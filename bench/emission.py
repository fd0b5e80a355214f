"""Words of features: expectation maximisation against AdamW, in one run on one machine.

    python bench/emission.py [--rows 10033] [--epochs 10] [--lr 0.1]

Both learn from the same nine tenths of the Wikipedia corpus, with the same SAE, and are scored on the same other tenth: EM with the defaults of `fit_emission`,
AdamW with the paper's background share of 0.3 and the better of two learning rates. The ratio is of CPU seconds; `agree` is the perplexity of AdamW over that of
EM: 1 or more says that the faster one is no worse. `same_objective` is the same quotient with the background share of the one given to the other.
"""
import argparse, json, os, platform, time
from pathlib import Path

import numpy as np
import torch

from saetm.corpus import count_words
from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.emission import perplexity, theta_from_acts
from saetm.word_fitting import fit_emission
from saetm.sae import encode_sparse
from saetm.sae_fitting import fit_sae

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=None)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--rounds", type=int, default=3, help="runs of EM; AdamW runs once")
args = parser.parse_args()

docs = load_corpus("wikipedia").text.tolist()[:args.rows]
emb = np.asarray(embed_to_shards(docs, Path("runs/quality") / ("wikipedia" if args.rows is None else f"wikipedia_{args.rows}") / "embeddings", shard_rows=1024))
bow = count_words(docs, min_df=5).counts
theta = theta_from_acts(encode_sparse(fit_sae(emb), emb, attribution=True))
order = np.random.default_rng(0).permutation(len(docs))
test, fit = np.sort(order[:len(docs) // 10]), np.sort(order[len(docs) // 10:])


def run(**settings):
    "CPU seconds of a fit, and the perplexity of the test documents."
    start = time.process_time()
    found = fit_emission(theta[fit], bow[fit], **settings)
    seconds = time.process_time() - start
    return seconds, perplexity(theta[test], bow[test], found.emission, found.background, found.pi), found.n_passes


slow, slow_score, epochs = run(method="adamw", pi=0.3, lr=args.lr, passes=args.epochs, held_out=0)
print(f"AdamW, lr {args.lr}, {epochs} epochs: {slow:.1f} CPU seconds, perplexity {slow_score:.0f}", flush=True)
fast = [run() for _ in range(args.rounds)]
for seconds, found, passes in fast: print(f"EM, stopped after {passes} passes: {seconds:.2f} CPU seconds, perplexity {found:.0f}", flush=True)
same = run(pi=0.3)
print(f"EM with AdamW's background share: {same[0]:.2f} CPU seconds, perplexity {same[1]:.0f}", flush=True)
ratios = [round(slow / seconds, 1) for seconds, *_ in fast]
machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), torch=torch.__version__, numpy=np.__version__)
print(json.dumps(dict(bench="emission", ratio=float(np.median(ratios)), ratios=ratios, agree=round(slow_score / fast[0][1], 4), same_objective=round(slow_score / same[1], 4), adamw=dict(cpu_seconds=round(slow, 1), perplexity=round(slow_score, 1)),
    em=dict(cpu_seconds=round(float(np.median([s for s, *_ in fast])), 2), perplexity=round(fast[0][1], 1)), machine=machine)))

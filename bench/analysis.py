"""Planted differences between groups, and planted changes over time: how many are found, how many that are none, over 20 seeds.

    python bench/analysis.py [--seeds 20] [--topics "SAE-TM"]

Twenty topics; four of them differ (or move), sixteen do not. Topics of documents are known through errors of two kinds: mixtures estimated from forty words a document,
and all of SAE-TM, fitted on embeddings and words, its topics matched with the planted ones. Writes results/analysis.csv, a row for each seed and setting:
planted topics, those of them found, others found, and for time how far the date of the step is off and whether its interval holds it. About ten minutes on one core.
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from saetm.analysis import compose, sample_shares, timeline
from saetm.corpus import atomic_path
from saetm.ctm import sample_words
from saetm.model import SAETM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, default=20)
parser.add_argument("--topics", nargs="+", default=["from words", "SAE-TM"], help="run these, and keep the rows of the others")
args = parser.parse_args()
T, CHANGED, STEP = 20, [0, 1, 2, 3], 2004.0
TOPICS = {"from words": (500, 4000), "SAE-TM": (4000,)}


def group_means(n_docs, gain):
    "Give topics 0 and 1 of the second half `gain` more, topics 2 and 3 as much less."
    codes = np.arange(n_docs) % 2
    return codes, 1 / T + gain * codes[:, None] * np.repeat([1, -1, 0], [2, 2, T - 4])


def time_means(n_docs, gain, seed):
    "Let topic 0 rise by `gain` at once in 2004, topic 2 slowly around 2010, at the cost of topics 1 and 3."
    year = np.random.default_rng([seed, 1]).uniform(1990, 2020, n_docs)
    moves = gain * np.stack([year >= STEP, 1 / (1 + np.exp(-(year - 2010) / 2))], 1)
    means = np.full((n_docs, T), 1 / T)
    means[:, [0, 2]] += moves
    means[:, [1, 3]] -= moves
    return year, means


def fitted_shares(means, seed, width=48):
    "Fit SAE-TM to planted documents; return its shares, and the planted topic of each of its topics."
    rng = np.random.default_rng([seed, 11])
    theta = rng.gamma(np.maximum(means, 1e-3)) + 1e-12
    theta /= theta.sum(1, keepdims=True)
    atoms, emission = rng.normal(size=(T, width)) / width**.5, rng.dirichlet(np.full(500, .05), T)
    emb = (theta * rng.gamma(4, .25, (len(theta), 1))) @ atoms + .05 * rng.normal(size=(len(theta), width))
    words = sample_words(theta, emission, length=40, seed=seed)
    names = ["".join("abcdefghij"[int(digit)] for digit in f"{word:05}") for word in range(500)]
    docs = [" ".join(names[word] for word in np.repeat(row.indices, row.data)) for row in words]
    model = SAETM(n_topics=T, n_latents=2 * T, k=4, seed=seed, steps=400).fit(docs, embeddings=emb.astype(np.float32))
    table = np.zeros((T, T))
    np.add.at(table, (model.topics_, theta.argmax(1)), model.topics_ >= 0)
    return model.document_topics_, linear_sum_assignment(-table)[1], (linear_sum_assignment(-table)[1][model.topics_] == theta.argmax(1)).mean()


def planted_shares(topics, means, seed):
    "Draw documents, and see their topics through the errors of a model."
    if topics == "SAE-TM": return fitted_shares(means, seed)
    drawn = sample_shares(means, seed=seed)
    return drawn.shares, np.arange(T), (drawn.shares.argmax(1) == drawn.theta.argmax(1)).mean()


def count(found, matched, gain):
    "Count planted topics, those found, and false ones."
    differ = set(CHANGED) if gain else set()
    named = {int(matched[t]) for t in found}
    return dict(planted=len(differ), found=len(named & differ), false=len(named - differ))


before = pd.read_csv("results/analysis.csv") if Path("results/analysis.csv").exists() else pd.DataFrame()
rows = [row for row in before.to_dict("records") if row["topics"] not in args.topics]
for topics in args.topics:
    for n_docs in TOPICS[topics]:
        for gain in (0.0, .02, .04) if topics == "from words" else (0.0, .04):
            for seed in range(args.seeds):
                codes, means = group_means(n_docs, gain)
                shares, matched, right = planted_shares(topics, means, seed)
                about = dict(topics=topics, n_docs=n_docs, gain=gain, seed=seed, right=round(float(right), 3))
                for measure in ("largest", "share"):
                    found = compose(shares, codes, measure=measure, seed=seed, n_boot=20).found()
                    rows.append(dict(kind="groups", measure=measure, **about, **count(found, matched, gain)))
                if gain == .02 or n_docs == 500: continue
                year, means = time_means(n_docs, gain, seed)
                shares, matched, right = planted_shares(topics, means, seed)
                for measure in ("largest", "share"):
                    line = timeline(shares, year, "decade", measure=measure, seed=seed, n_boot=400)
                    step, low, high = (float(ends[matched == 0][0]) for ends in (line.change, line.change_low, line.change_high))
                    rows.append(dict(kind="time", measure=measure, **about | dict(right=round(float(right), 3)), **count(line.found(), matched, gain), off=round(abs(step - STEP), 2), held=int(low <= STEP <= high)))
            print(topics, n_docs, gain, pd.DataFrame(rows[-2 * args.seeds:]).groupby(["kind", "measure"])[["planted", "found", "false", "right"]].mean().round(3).to_dict("index"), flush=True)
            with atomic_path("results/analysis.csv") as path: pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")

"""Which part of good topics is the SAE's: topics of SAETM beside clusters of embeddings that get the same words.

    python bench/sae_part.py [--folder runs/benchmark] [--seeds 0 1 2 3 4] --write results/sae_part.csv

Corpora as `saetm benchmark` prepares them (folder/corpora). For each corpus, number of topics and seed, the perplexity of
the words of a tenth of the documents, whose words take no part in learning: with k-means clusters (each document has one
topic), with the refined directions alone (softly, no features), and with the shares of SAETM. Then how stable topics are:
the share of the ten strongest words that the topics of two seeds have in common, each topic matched with its best partner.
"""
import argparse, json
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from saetm.baselines import fit_baseline
from saetm.benchmark import open_corpus, prepare_corpus, read_source
from saetm.emission import fit_background, perplexity
from saetm.merging import direction_posterior, refit_topic_words
from saetm.model import SAETM

NUMBERS = {"wikipedia": (50, 100, 300), "tweets": (50, 100, 300), "commons": (30, 100), "openmoji": (30, 100)}


def held_out(shares, bow, held):
    "Perplexity of held-out documents, given the words of topics learned on the others."
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    shares, learned = sparse.csr_matrix(shares, dtype=np.float32), bow[train]
    background = fit_background(learned)
    words = refit_topic_words(shares[train], learned, background)
    return perplexity(shares[test], bow[test], sparse.csr_matrix(words), background, pi=.3)


def words_in_common(weights_a, weights_b, n=10):
    "Mean share of words that matched topics have in common."
    tops = [[set(row) for row in np.argsort(-w, 1, kind="stable")[:, :n].tolist()] for w in (weights_a, weights_b)]
    common = np.array([[len(a & b) / n for b in tops[1]] for a in tops[0]])
    return float(common[linear_sum_assignment(-common)].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="runs/benchmark")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--write")
    args = parser.parse_args()
    rows = []
    for name, numbers in NUMBERS.items():
        corpus = open_corpus(args.folder, prepare_corpus(args.folder, name))
        bow, lists = corpus.bow.counts, {}
        for seed in args.seeds:
            held = np.random.default_rng([seed, 9]).random(bow.shape[0]) < .1
            model = SAETM(2, seed=seed, encoder=None).fit(read_source(name)[0], embeddings=corpus.emb)
            for T in numbers:
                model.set_n_topics(T)
                clusters = fit_baseline("kmeans_words", bow, corpus.emb, T, seed)
                directions = direction_posterior(model.directions_, model.result_.centroids, model.result_.kappa)
                shares = dict(clusters=np.eye(T, dtype=np.float32)[clusters.labels_],
                              directions=np.where(directions < .02, 0, directions), saetm=model.document_topics_)
                losses = {kind: held_out(found, bow, held) for kind, found in shares.items()}
                rows.append(dict(corpus=name, n_topics=T, seed=seed, **losses))
                lists.setdefault(T, []).append((model.word_weights_, clusters.components_))
                print(rows[-1], flush=True)
        for T, found in lists.items():
            for kind, place in (("saetm", 0), ("clusters", 1)):
                pairs = [words_in_common(a[place], b[place]) for a, b in combinations(found, 2)]
                for row in rows:
                    if (row["corpus"], row["n_topics"]) == (name, T): row[f"stable_{kind}"] = float(np.mean(pairs))
    table = pd.DataFrame(rows)
    if args.write: table.to_csv(args.write, index=False)
    mean = table.groupby(["corpus", "n_topics"])[["clusters", "directions", "saetm"]].mean()
    print(table.groupby(["corpus", "n_topics"]).mean(numeric_only=True).round(3).to_string())
    print(json.dumps(dict(bench="sae_part", ratio=round(float((mean.clusters / mean.saetm).mean()), 3))))


if __name__ == "__main__":
    main()

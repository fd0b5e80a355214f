"""Topics of 30,000 health tweets of 16 news outlets, for the study of outlets.

    python bench/outlets.py [--n-topics 40] [--seeds 5]

Embeds the tweets, trains an SAE on them and merges its features, once for each seed. Writes results/outlets.npz with the topic of each tweet (the largest, -1 for none) and the words of the topics for
seed 0, and results/outlets.csv with what becomes of the topics in the other runs: for each topic and outlet the share in seed 0, and in each other run that of the most similar topic. Ten minutes on two cores.
"""
import argparse

import numpy as np
import pandas as pd

from saetm.corpus import atomic_path
from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.model import SAETM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--n-topics", type=int, default=40)
parser.add_argument("--seeds", type=int, default=5)
args = parser.parse_args()

tweets = load_corpus("tweets")
docs = tweets.text.tolist()
emb = np.asarray(embed_to_shards(docs, "runs/outlets/embeddings", shard_rows=1024))
outlets = sorted(tweets.outlet.unique())
one_hot = (tweets.outlet.to_numpy()[:, None] == np.array(outlets)).astype(float)


def members(topics):
    "Return a column of 0 and 1 for each topic."
    return (topics[:, None] == np.arange(args.n_topics)).astype(float)


rows, first = [], None
for seed in range(args.seeds):
    model = SAETM(n_topics=args.n_topics, seed=seed).fit(docs, embeddings=emb)
    own = members(model.topics_)
    if first is None:
        first, words = own, np.array([[word for word, _ in model.get_topic(topic, 10)] for topic in range(args.n_topics)])
        close = np.array([model.representative_rows(topic, 5) for topic in range(args.n_topics)])
        with atomic_path("results/outlets.npz") as path: np.savez_compressed(path, topics=model.topics_.astype(np.int16), words=words, close=close)
    overlap = first.T @ own / np.maximum(first.sum(0)[:, None] + own.sum(0) - first.T @ own, 1)
    match = overlap.argmax(1)
    share = (one_hot.T @ own / one_hot.sum(0)[:, None]).T[match]
    rows += [dict(topic=topic, seed=seed, overlap=round(overlap[topic, match[topic]], 3), outlet=name, share=round(share[topic, g], 5)) for topic in range(args.n_topics) for g, name in enumerate(outlets)]
    print(seed, "median overlap with seed 0:", np.median(overlap.max(1)).round(3), flush=True)
    with atomic_path("results/outlets.csv") as path: pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")

"""Topics of House of Commons speeches, 1989 to 2019, for the study of topics over time.

    python bench/history.py [--run runs/demo] [--n-topics 12] [--seeds 10]

The SAE of the demo's run, trained on Wikipedia, is taken as it is (after `make demo`); only words are learned on the speeches, once for each seed. Of these models the one is
kept whose topics of documents agree best with those of the others, by normalised mutual information; dates have no part in that choice. Writes results/history.npz, with its
words and topic shares, and results/history.csv, with what became of each of its topics in the other models: the correlation of the shares with those of the most similar topic, and its test
over time. A minute, and half a minute more for the embeddings.
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from saetm.analysis import timeline
from saetm.corpus import atomic_path
from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.model import SAETM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", default="runs/demo")
parser.add_argument("--n-topics", type=int, default=12)
parser.add_argument("--seeds", type=int, default=10)
args = parser.parse_args()

speeches = load_corpus("commons").query("speaker != 'CHAIR'")        # members, not the Speaker's calls to order
docs = speeches.text.tolist()
emb = np.asarray(embed_to_shards(docs, "runs/history/embeddings", shard_rows=1024))
longest = speeches.assign(length=speeches.text.str.len()).sort_values("length", ascending=False, kind="stable")
first = np.sort(longest.drop_duplicates("date").index)      # one speech of each sitting day
rows = speeches.index.get_indexer(first)
models = [SAETM(n_topics=args.n_topics, sae=Path(args.run) / "sae", seed=seed).fit(docs, embeddings=emb) for seed in range(args.seeds)]
shares = [model.document_topics_.toarray() for model in models]
agree = np.array([[normalized_mutual_info_score(a.argmax(1), b.argmax(1)) for b in shares] for a in shares])
typical = int((agree.sum(1) - 1).argmax())
print("agreement with the others:", ((agree.sum(1) - 1) / (args.seeds - 1)).round(4).tolist(), "-> seed", typical)

table = []
for seed in range(args.seeds):
    moved = timeline(shares[seed][rows], speeches.date.iloc[rows].tolist(), "decade", measure="share", n_perm=9999, n_boot=400)
    for topic in range(args.n_topics):
        alike = [np.corrcoef(shares[typical][:, topic], other)[0, 1] for other in shares[seed].T]
        match = int(np.argmax(alike))
        table.append(dict(topic=topic, seed=seed, typical=int(seed == typical), match=match, correlation=round(alike[match], 3), words=" ".join(word for word, _ in models[seed].get_topic(match, 6)),
            slope=round(moved.slope[match], 5), q=round(moved.q[match], 4), change=round(moved.change[match], 2), low=round(moved.change_low[match], 2), high=round(moved.change_high[match], 2)))
with atomic_path("results/history.csv") as path: pd.DataFrame(table).to_csv(path, index=False, lineterminator="\n")
words = np.array([[word for word, _ in models[typical].get_topic(topic, 10)] for topic in range(args.n_topics)])
with atomic_path("results/history.npz") as path: np.savez_compressed(path, shares=shares[typical].astype(np.float32), words=words, row=speeches.index.to_numpy(), one_a_day=first, seed=typical, agreement=agree.round(4))

"""An SAE trained on Wikipedia, applied as it is to House of Commons speeches, beside one trained on the speeches alone.

    python bench/transfer.py [--run runs/demo] [--n-topics 30] [--scorer SCORE.py]

The SAE of the demo's run is taken unchanged; only words are learned on the 940 speeches. Writes results/transfer.md with both tables of topics, and, for the
speeches of question time whose agenda names a department, how well the largest topic agrees with it.
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.model import SAETM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", default="runs/demo")
parser.add_argument("--n-topics", type=int, default=30)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
args = parser.parse_args()

table = load_corpus("commons")
docs = table.text.tolist()
emb = np.asarray(embed_to_shards(docs, "runs/quality/commons/embeddings", shard_rows=1024))
department = table.agenda.str.extract(r"Oral Answers to Questions > ([^\]>]+)")[0]
known = department.notna().to_numpy()


def npmi(model, n=10):
    "Mean NPMI of the pairs of each topic's first words, counted in the speeches."
    present = (model.bow_.counts > 0).astype(float).tocsc()
    share, scores = np.asarray(present.mean(0)).ravel(), []
    for words in np.argsort(-model.word_weights_, 1, kind="stable")[:, :n]:
        joint = (present[:, words].T @ present[:, words]).toarray() / len(docs)
        a, b = np.triu_indices(n, 1)
        both, alone = joint[a, b], share[words[a]] * share[words[b]]
        scores.append(np.where(both > 0, np.log(np.maximum(both, 1e-12) / alone) / -np.log(np.maximum(both, 1e-12)), -1).mean())
    return float(np.mean(scores))


rows, tables = [], {}
for seed in args.seeds:
    for name, sae in (("trained on Wikipedia, taken as it is", f"{args.run}/sae"), ("trained on the 940 speeches", None)):
        model = SAETM(n_topics=args.n_topics, sae=sae, seed=seed).fit(docs, embeddings=emb)
        top25 = np.argsort(-model.word_weights_, 1, kind="stable")[:, :25]
        live = int((model.theta_.getnnz(0) > 0).sum())
        rows.append(dict(sae=name, seed=seed, live_features=live, perplexity=model.emission_.perplexity, npmi=npmi(model), unique25=len(np.unique(top25)) / top25.size,
                         nmi=normalized_mutual_info_score(department[known], model.topics_[known])))
        print(rows[-1], flush=True)
        if seed == args.seeds[0]: tables[name] = model.get_topic_info()
mean, spread = (pd.DataFrame(rows).groupby("sae", sort=False).agg(kind, numeric_only=True) for kind in ("mean", "std"))
lines = ["# One SAE, another corpus", "", f"{len(docs)} House of Commons speeches, {args.n_topics} topics, mean and standard deviation over seeds {', '.join(map(str, args.seeds))}. "
         f"NMI is between the largest topic and the department, for the {int(known.sum())} speeches of question time that name one. Made by `python bench/transfer.py`.", "",
         "| SAE | live features | held-out perplexity | NPMI | unique words | NMI |", "|---|---|---|---|---|---|"]
for name in mean.index:
    m, s = mean.loc[name], spread.loc[name]
    lines.append(f"| {name} | {m.live_features:.0f} | {m.perplexity:.0f} ± {s.perplexity:.0f} | {m.npmi:.3f} ± {s.npmi:.3f} | {m.unique25:.3f} ± {s.unique25:.3f} | {m.nmi:.3f} ± {s.nmi:.3f} |")
for name, info in tables.items():
    lines += ["", f"## SAE {name}", "", "| topic | speeches | words |", "|---|---|---|"] + [f"| {row.Topic} | {row.Count} | {', '.join(row.Representation)} |" for row in info.itertuples()]
Path("results/transfer.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))

"""How the neural baselines' topics change as training goes on: one long run a model, measured on the way.

    python bench/convergence.py [--run runs/benchmark] [--corpus wikipedia] [--models avitm etm ...] [--n-topics 50] [--epochs 160] [--seed 0] [--set NAME=VALUE ...]

The corpus is that of `saetm benchmark`, prepared in the folder of the benchmark; `saetm benchmark --models kmeans` makes it. It goes on where a fit would stop, and is measured at equal distances. Adam's learning rate stays as it is, so a run that is
stopped early is the run with fewer passes (DVAE's warm-up alone depends on the length). Writes results/convergence.csv: passes, CPU seconds of training, loss, loss of documents
held out, the pass at which that was lowest so far, NPMI, unique words, NMI.
"""
import argparse
import time

import numpy as np
import pandas as pd
import torch

import saetm.embedding_baselines
from saetm.baselines import BASELINES, baseline_words
from saetm.benchmark import open_corpus
from saetm.cli import read_value
from saetm.corpus import atomic_path
from saetm.metrics import cluster_agreement, npmi, unique_words
from saetm.vae_baselines import NeuralBaseline

NEURAL = [name for name, cls in BASELINES.items() if issubclass(cls, NeuralBaseline)]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", default="runs/benchmark")
parser.add_argument("--corpus", default="wikipedia")
parser.add_argument("--models", nargs="+", default=NEURAL, choices=NEURAL)
parser.add_argument("--n-topics", type=int, default=50)
parser.add_argument("--epochs", type=int, default=160)
parser.add_argument("--points", type=int, default=8, help="measurements of a run")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
parser.add_argument("--out", default="results/convergence.csv")


def measure(model, corpus):
    "Return NPMI, unique words and NMI of a model as it is."
    model.net_.eval()
    if model.name == "fastopic": model.relate_to(corpus.emb)
    with torch.no_grad(): model.components_ = model.topics().cpu().numpy()
    words, shares = baseline_words(model, corpus.bow.vocabulary, 25), model._transform(corpus.bow.counts, corpus.emb)
    model.net_.train()
    return dict(npmi=npmi(words, corpus.bow, n_boot=2).value, unique=unique_words(words, n_boot=2).value, nmi=cluster_agreement(shares, corpus.labels, n_boot=2)["nmi"].value)


def follow(name, corpus, args, settings):
    "Train a model, and measure it on the way."
    model, rows = BASELINES[name](args.n_topics, args.seed, **{"epochs": args.epochs, "min_steps": 1, "patience": 10**9, **settings}), []
    clock = dict(used=0.0, since=time.process_time(), losses=[], due=1)

    def on_step(done, values):
        clock["losses"].append(values["loss"])
        if done < clock["due"] * model.steps_ / args.points - 25: return
        clock["used"] += time.process_time() - clock["since"]
        epochs = done * model.settings_["batch_size"] / corpus.bow.counts.shape[0]
        row = dict(corpus=corpus.name, model=name, n_topics=args.n_topics, seed=args.seed, settings=" ".join(args.set), epochs=round(epochs, 1), steps=done, cpu_seconds=round(clock["used"], 1), loss=round(float(np.mean(clock["losses"][-20:])), 2),
                   held_out=round(float(np.mean([loss for _, loss in model.watch_.history[-3:]])), 2), best_at=round(model.watch_.at * model.settings_["batch_size"] / corpus.bow.counts.shape[0], 1))
        rows.append({**row, **{key: round(float(value), 4) for key, value in measure(model, corpus).items()}})
        print({key: rows[-1][key] for key in ("model", "settings", "epochs", "cpu_seconds", "loss", "held_out", "best_at", "npmi", "unique", "nmi")}, flush=True)
        clock.update(losses=[], due=clock["due"] + 1, since=time.process_time())

    model.fit(corpus.bow, corpus.emb, on_step)
    return rows


if __name__ == "__main__":
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = open_corpus(args.run, args.corpus)
    settings = {name: read_value(value) for name, value in (text.split("=") for text in args.set)}
    for name in args.models:
        rows = follow(name, corpus, args, settings)
        kept = pd.read_csv(args.out, keep_default_na=False) if __import__("pathlib").Path(args.out).exists() else pd.DataFrame()
        with atomic_path(args.out) as path: pd.concat([kept, pd.DataFrame(rows)]).to_csv(path, index=False, lineterminator="\n")

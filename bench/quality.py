"""Quality of the default recipe on a corpus that comes with the package, over seeds.

    python bench/quality.py --scorer SCORE.py [--corpus wikipedia] [--seeds 0 1 2 3 4] [--n-topics 50 100]

Trains one SAE a seed, reports how well it describes the embeddings, the perplexity of test documents that neither fitted nor stopped the words,
and, for each number of topics, what an outside scorer says of the topics: NPMI of the top 10 words, unique words among the top 25, purity and NMI
of the largest topic against the labels. Beside the default recipe: the paper's, and k-means on the same embeddings with c-TF-IDF words.
Embeddings are kept in runs/quality/, the table goes to results/quality_<corpus>.csv and .md.
"""
import argparse, json, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.cluster import KMeans

from saetm.corpus import count_words, load_documents
from saetm.data import load_corpus
from saetm.embedding import embed_to_shards
from saetm.emission import perplexity, theta_from_acts
from saetm.word_fitting import fit_emission
from saetm.merging import top_words
from saetm.model import SAETM
from saetm.settings import default_min_df
from saetm.sae import encode_sparse
from saetm.sae_fitting import fit_sae


def held_out_perplexity(sae, emb, bow, seed, attribution=True, **settings):
    "Perplexity of a tenth of the documents, which take no part in fitting the words or in choosing when to stop."
    theta = theta_from_acts(encode_sparse(sae, emb, attribution=attribution))
    order = np.random.default_rng(1000 + seed).permutation(len(emb))
    test, fit = np.sort(order[:len(emb) // 10]), np.sort(order[len(emb) // 10:])
    found = fit_emission(theta[fit], bow.counts[fit], seed=seed, **settings)
    return perplexity(theta[test], bow.counts[test], found.emission, found.background, found.pi)


def kmeans_topics(emb, bow, n_topics, seed):
    "Topics of a user without a topic model: k-means on the embeddings, words by c-TF-IDF."
    label = KMeans(n_topics, n_init=3, random_state=seed).fit_predict(emb)
    shares = sparse.csr_matrix((np.ones(len(label), np.float32), (np.arange(len(label)), label)), shape=(len(label), n_topics))
    counts = (shares.T @ bow.counts).toarray()
    weight = counts / np.maximum(counts.sum(1, keepdims=True), 1) * np.log1p(counts.sum() / n_topics / np.maximum(counts.sum(0), 1))
    return weight, shares


def score(scorer, corpus_file, label, components, shares, vocabulary):
    "Ask the outside scorer."
    with tempfile.TemporaryDirectory() as folder:
        words = "".join(",".join(w for w, _ in row) + "\n" for row in top_words(components, vocabulary, 50))
        Path(folder, "top_words.txt").write_text(words, encoding="utf8")
        sparse.save_npz(Path(folder, "shares.npz"), sparse.csr_matrix(shares))
        extra = ["--doc-topics", f"{folder}/shares.npz", "--label", label] if label else []
        out = subprocess.run([sys.executable, scorer, str(corpus_file), f"{folder}/top_words.txt", *extra], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", required=True)
    parser.add_argument("--corpus", default="wikipedia")
    parser.add_argument("--label", default="topic", help="column with known labels; '' for none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--n-topics", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--rows", type=int, default=None, help="only the first rows of the corpus")
    args = parser.parse_args()
    table = load_corpus(args.corpus)
    table = table if args.rows is None else table.head(args.rows)
    docs = table.text.tolist()
    folder = Path("runs/quality") / (args.corpus + ("" if args.rows is None else f"_{args.rows}"))
    folder.mkdir(parents=True, exist_ok=True)
    corpus_file = folder / "corpus.parquet"
    table.to_parquet(corpus_file)
    emb = np.asarray(embed_to_shards(docs, folder / "embeddings", shard_rows=1024))
    bow = count_words(docs, min_df=default_min_df(len(docs)))
    rows = []
    for seed in args.seeds:
        sae = fit_sae(emb, seed=seed)
        facts = {**sae.report._asdict(), "perplexity": held_out_perplexity(sae, emb, bow, seed)}
        model = SAETM(n_topics=2, sae=sae, seed=seed).fit(docs, embeddings=emb)
        paper = SAETM(n_topics=2, sae=sae, seed=seed, recipe="paper").fit(docs, embeddings=emb)
        paper_facts = {**sae.report._asdict(), "perplexity": held_out_perplexity(sae, emb, bow, seed, attribution=False, pi=0.3)}
        no_topic = int((np.diff(model.document_topics_.indptr) == 0).sum())
        for n_topics in args.n_topics:
            for name, fitted, told in (("saetm", model, facts), ("paper's recipe, same SAE", paper, paper_facts)):
                start = time.process_time()
                fitted.set_n_topics(n_topics)
                seconds = time.process_time() - start
                found = score(args.scorer, corpus_file, args.label, fitted.word_weights_, fitted.document_topics_, fitted.vocabulary_)
                rows.append(dict(model=name, n_topics=n_topics, seed=seed, **told, retopic_cpu_seconds=seconds, without_topic=no_topic, **{k: v for k, v in found.items() if k != "topics"}))
            weight, shares = kmeans_topics(emb, bow, n_topics, seed)
            found = score(args.scorer, corpus_file, args.label, weight, shares, bow.vocabulary)
            rows.append(dict(model="k-means with c-TF-IDF", n_topics=n_topics, seed=seed, **{k: v for k, v in found.items() if k != "topics"}))
            print(pd.DataFrame(rows[-3:]).round(3).to_string(), flush=True)
    name = args.corpus + ("" if args.rows is None else f"_{args.rows}")
    frame = pd.DataFrame(rows)
    frame.to_csv(f"results/quality_{name}.csv", index=False)
    shown = [c for c in ("explained_variance", "l0", "dead_share", "without_topic", "perplexity", "npmi", "unique25", "purity", "nmi") if c in frame]
    mean, spread = (frame.groupby(["n_topics", "model"])[shown].agg(kind) for kind in ("mean", "std"))
    digits = lambda c: 0 if c in ("perplexity", "without_topic") else 1 if c == "l0" else 3
    lines = [f"# Quality on the {args.corpus} corpus", "", f"{len(docs):,} documents, mean and standard deviation over seeds {', '.join(map(str, args.seeds))}. Made by `python bench/quality.py --corpus {args.corpus}`.", "",
             "| topics | model | " + " | ".join(shown) + " |", "|---" * (len(shown) + 2) + "|"]
    for (n, model_name) in mean.index:
        cells = [f"{mean.loc[(n, model_name), c]:.{digits(c)}f} ± {spread.loc[(n, model_name), c]:.{digits(c)}f}" if np.isfinite(mean.loc[(n, model_name), c]) else "" for c in shown]
        lines.append(f"| {n} | {model_name} | " + " | ".join(cells) + " |")
    Path(f"results/quality_{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

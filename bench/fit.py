"""What a fit costs beside BERTopic's, without embedding: CPU seconds of a fresh process each, in turn, on the same input.

    python bench/fit.py [--folder runs/benchmark] [--corpus wikipedia] [--n-topics 50] [--rounds 3]

`saetm`: SAETM(n_topics=T).fit with the foundation SAE; `saetm_trained`: with an SAE trained. `bertopic_kmeans`: BERTopic with k-means on the embeddings
as they are. `bertopic`: BERTopic's default, UMAP and HDBSCAN. Each is the second fit of its process, so that imports and compiling do not count.
Prints as `ratio` the CPU seconds of saetm over those of
bertopic_kmeans, and as `to_default` over those of BERTopic's default. Embeddings as `saetm benchmark` prepares them.
"""
import argparse, copy, json, os, platform, statistics, subprocess, sys, time

import numpy as np


def fit(model, folder, corpus, n_topics):
    "Fit a model in this process; print CPU and wall seconds."
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import CountVectorizer
    from saetm import SAETM
    from saetm.benchmark import prepare_corpus, read_source
    from saetm.embedding import open_embeddings
    docs = read_source(corpus)[0]
    emb = np.asarray(open_embeddings(f"{folder}/corpora/{prepare_corpus(folder, corpus)}/embeddings"), np.float32)
    if model.startswith("saetm"): made = SAETM(n_topics, sae="auto" if model == "saetm" else None)
    else:
        from bertopic import BERTopic
        from bertopic.dimensionality import BaseDimensionalityReduction
        plain = dict(hdbscan_model=KMeans(n_topics, random_state=0), umap_model=BaseDimensionalityReduction())
        words = CountVectorizer(stop_words="english")
        made = BERTopic(vectorizer_model=words, **(plain if model == "bertopic_kmeans" else {}))
    copy.deepcopy(made).fit(docs, embeddings=emb)     # imports and compiles what is imported and compiled once
    start = time.process_time(), time.perf_counter()
    made.fit(docs, embeddings=emb)
    print(json.dumps([time.process_time() - start[0], time.perf_counter() - start[1]]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="runs/benchmark")
    parser.add_argument("--corpus", default="wikipedia")
    parser.add_argument("--n-topics", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="fit this one, in this process")
    args = parser.parse_args()
    if args.model: return fit(args.model, args.folder, args.corpus, args.n_topics)
    found, environment = {}, {**os.environ, "OMP_WAIT_POLICY": "passive"}
    for _ in range(args.rounds):
        for model in ("saetm", "saetm_trained", "bertopic_kmeans", "bertopic"):
            command = [sys.executable, __file__, "--model", model, "--folder", args.folder, "--corpus", args.corpus,
                       "--n-topics", str(args.n_topics)]
            out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
            found.setdefault(model, []).append(json.loads(out.strip().splitlines()[-1]))
            print(f"{model}: {found[model][-1][0]:.1f} CPU seconds, {found[model][-1][1]:.1f} by the clock", flush=True)
    cpu = {model: statistics.median(seconds for seconds, _ in runs) for model, runs in found.items()}
    ratios = [round(a[0] / b[0], 2) for a, b in zip(found["saetm"], found["bertopic_kmeans"])]
    machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), numpy=np.__version__)
    print(json.dumps(dict(bench="fit", ratio=statistics.median(ratios), ratios=ratios,
                          to_default=round(cpu["saetm"] / cpu["bertopic"], 2), cpu_seconds=cpu, machine=machine)))


if __name__ == "__main__":
    main()

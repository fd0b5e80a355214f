"""What a fit costs beside BERTopic's, without embedding: CPU seconds in a process of its own, in turn, on the same input.

    python bench/fit.py [--folder runs/benchmark] [--corpus wikipedia] [--n-topics 50] [--rounds 3]

`saetm`: SAETM(n_topics=T).fit with the foundation SAE; `saetm_trained`: with an SAE trained. `bertopic_kmeans`: BERTopic
with k-means on the embeddings as they are. `bertopic`: BERTopic's default, UMAP and HDBSCAN. Each process fits twice: the
first fit imports and compiles what the model needs, the second does not. For both, `ratio` is saetm's CPU seconds over
those of bertopic_kmeans, and `to_default` over those of BERTopic's default. Embeddings as `saetm benchmark` prepares them.
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
    seconds = []
    for one in (copy.deepcopy(made), made):
        start = time.process_time(), time.perf_counter()
        one.fit(docs, embeddings=emb)
        seconds.append([time.process_time() - start[0], time.perf_counter() - start[1]])
    print(json.dumps(seconds))


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
            print(model, *(f"{cpu:.1f} CPU seconds, {wall:.1f} by the clock;" for cpu, wall in found[model][-1]), flush=True)
    result = dict(bench="fit", machine=dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count()))
    for i, which in enumerate(("first", "second")):
        cpu = {model: [fits[i][0] for fits in runs] for model, runs in found.items()}
        result[which] = {name: [round(a / b, 2) for a, b in zip(cpu["saetm"], cpu[rival])]
                         for name, rival in (("ratio", "bertopic_kmeans"), ("to_default", "bertopic"))}
        result[which]["cpu_seconds"] = {model: round(statistics.median(runs), 1) for model, runs in cpu.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

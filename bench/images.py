"""Topics of pictures beside k-means on the same embeddings: agreement with OpenMoji's groups and subgroups, for several seeds.

    python bench/images.py [--seeds 0 1 2 3 4] [--n-topics 30] [--embeddings FOLDER] [--write]
    python bench/images.py --keep runs/demo-images

The embeddings are made into FOLDER, or taken from there. `--write` writes results/images.csv and results/images.md, `--keep` what the study
of OpenMoji reads of a finished demo: results/images.npz. The last line is one JSON object.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from saetm import SAETM, load_corpus
from saetm.cli import DEMO_IMAGES
from saetm.corpus import atomic_path
from saetm.images import embed_images_to_shards, load_images

ROOT = Path(__file__).resolve().parent.parent


def agreement(topics, table):
    "Score topics by the normalised mutual information with groups and subgroups."
    return {name: normalized_mutual_info_score(table[column], topics) for name, column in (("nmi_group", "group"), ("nmi_subgroup", "subgroup"))}


def measure(table, emb, seeds, n_topics):
    "Fit both with each seed; return a row for each."
    rows, settings = [], {**DEMO_IMAGES, "n_topics": n_topics}
    for seed in seeds:
        model = SAETM(**settings, seed=seed).fit(table.caption.tolist(), embeddings=emb)
        rows.append(dict(model="saetm", seed=seed, **agreement(model.topics_, table), smallest=int(min(model.topic_sizes_)), largest=int(max(model.topic_sizes_))))
        sizes = KMeans(n_topics, n_init=10, random_state=seed).fit_predict(emb)
        count = np.bincount(sizes, minlength=n_topics)
        rows.append(dict(model="k-means", seed=seed, **agreement(sizes, table), smallest=int(count.min()), largest=int(count.max())))
        print(pd.DataFrame(rows[-2:]).round(4).to_string(index=False, header=seed == seeds[0]), flush=True)
    return pd.DataFrame(rows)


def report(results, n_topics):
    "Describe the results in Markdown."
    mean = results.groupby("model")[["nmi_group", "nmi_subgroup"]].mean()
    ratio = mean.loc["saetm"] / mean.loc["k-means"]
    lines = ["# Topics of pictures", "",
             f"2,186 drawings of OpenMoji, embedded by EfficientNet-Lite0 (float32); {n_topics} topics by SAETM with the settings of `saetm demo --images` "
             f"({', '.join(f'{name} = {value}' for name, value in DEMO_IMAGES.items() if name != 'n_topics')}), and {n_topics} clusters by k-means (best of 10 starts) on the same embeddings. "
             "Agreement is normalised mutual information with OpenMoji's 10 groups and 115 subgroups; the captions, from which SAETM has its words, do not name the groups. Written by `bench/images.py`.", "",
             "| model | seed | NMI, groups | NMI, subgroups | pictures of a topic |", "|---|---|---|---|---|"]
    lines += [f"| {row.model} | {row.seed} | {row.nmi_group:.3f} | {row.nmi_subgroup:.3f} | {row.smallest} to {row.largest} |" for row in results.sort_values(["model", "seed"], ascending=[False, True]).itertuples()]
    lines += ["", f"Mean over {results.seed.nunique()} seeds, groups: {mean.nmi_group['saetm']:.3f} against {mean.nmi_group['k-means']:.3f}, {ratio.nmi_group:.2f} times; "
              f"subgroups: {mean.nmi_subgroup['saetm']:.3f} against {mean.nmi_subgroup['k-means']:.3f}, {ratio.nmi_subgroup:.2f} times."]
    return "\n".join(lines) + "\n", ratio


def keep_run(run, path):
    "Keep what the study of OpenMoji reads of a run of `saetm demo --images`."
    model = SAETM.load(run)
    best = np.array([np.pad(rows := model.representative_rows(topic, 12), (0, 12 - len(rows)), constant_values=-1) for topic in range(model.n_topics_)])
    words = np.array([[word for word, _ in model.get_topic(topic, 10)] for topic in range(model.n_topics_)])
    tightness = np.array([(model.directions_[model.topics_ == topic] @ model.result_.centroids[topic]).mean() for topic in range(model.n_topics_)])
    with atomic_path(path) as temporary: np.savez_compressed(temporary, shares=model.document_topics_.toarray().astype(np.float32), words=words, representative=best, tightness=tightness.astype(np.float32))


def main():
    "Measure, print, and write if asked."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--n-topics", type=int, default=30)
    parser.add_argument("--embeddings", type=Path, default=ROOT / "runs" / "demo-images" / "embeddings")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="RUN", help="write results/images.npz from a run of `saetm demo --images`, and measure nothing")
    args = parser.parse_args()
    if args.keep: return keep_run(args.keep, ROOT / "results" / "images.npz")
    table = load_corpus("openmoji")
    emb = np.asarray(embed_images_to_shards(load_images(table), args.embeddings, shard_rows=1024))
    results = measure(table, emb, args.seeds, args.n_topics)
    text, ratio = report(results, args.n_topics)
    if args.write:
        (ROOT / "results" / "images.md").write_text(text, encoding="utf-8")
        results.round(4).to_csv(ROOT / "results" / "images.csv", index=False)
    paired = [float(a / b) for a, b in zip(results[results.model == "saetm"].nmi_group, results[results.model == "k-means"].nmi_group)]
    print(text)
    print(json.dumps(dict(bench="images", ratio=float(np.median(paired)), ratios=[round(x, 4) for x in paired], mean_ratio=float(ratio.nmi_group), seeds=args.seeds, n_topics=args.n_topics)))


if __name__ == "__main__":
    main()

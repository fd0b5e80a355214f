"""Word Mover's Distance of all pairs of topics, against a loop of `ot.dist` and `ot.emd2`, in one run on one machine.

    OMP_NUM_THREADS=1 python bench/wmd.py [--n-topics 500] [--words 20] [--rounds 3] [--random]

The topics are those of k-means on the Wikipedia corpus (static embeddings, class-based tf-idf words), or random words of its vocabulary with `--random`; the vectors are
wordllama's (256 wide, float64 for all). Each round runs the loop and `pairwise_wmd` in turn; the ratio is of CPU seconds.

`agree` is the largest difference of any pair from `ot.emd2`. For pairs that share words `ot.emd2` gets distances by differences: `ot.dist` puts a word up to 1e-7 from
itself; what that does to the loop's own values is `ot_dist_error`.
"""
import argparse, json, os, platform, time
os.environ.setdefault("OMP_NUM_THREADS", "1"); os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
from itertools import combinations

import numpy as np
import ot
import scipy
from scipy.spatial.distance import cdist

from saetm.corpus import count_words
from saetm.data import load_corpus
from saetm.embedding import embed, word_vectors
from saetm.metrics import class_words, pairwise_wmd

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--n-topics", type=int, default=500)
parser.add_argument("--words", type=int, default=20)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--random", action="store_true", help="random words of the vocabulary instead of real topics")
args = parser.parse_args()


def real_topics(docs, bow):
    "Columns of the strongest words of k-means topics."
    from sklearn.cluster import KMeans
    label = KMeans(args.n_topics, n_init=1, max_iter=5, random_state=0).fit_predict(np.asarray(embed(docs, "wordllama")))
    return np.argsort(-class_words(bow.counts, label, args.n_topics), 1, kind="stable")[:, :args.words]


def loop(points):
    "Every pair with a general solver."
    load, out = np.full(args.words, 1 / args.words), np.zeros((len(points), len(points)))
    for a, b in combinations(range(len(points)), 2): out[a, b] = ot.emd2(load, load, ot.dist(points[a], points[b], metric="euclidean"))
    return out + out.T


def timed(function, *arguments, **settings):
    "CPU seconds and result."
    np.ones(2**26).sum()                                        # 512 MiB, so that no one pays for pages that a virtual machine gave back to its host while idle
    start = time.process_time()
    result = function(*arguments, **settings)
    return time.process_time() - start, result


docs = load_corpus("wikipedia").text.tolist()
bow = count_words(docs)
vectors = word_vectors(bow.vocabulary).vectors.astype(np.float64)
rng = np.random.default_rng(0)
topics = np.array([rng.choice(len(vectors), args.words, replace=False) for _ in range(args.n_topics)]) if args.random else real_topics(docs, bow)
points, pairs = [vectors[topic] for topic in topics], args.n_topics * (args.n_topics - 1) // 2
print(f"{args.n_topics} topics, {pairs} pairs, {len(np.unique(topics))} distinct words", flush=True)

ratios, seconds = [], {"loop": [], "pairwise_wmd": []}
for _ in range(args.rounds):
    slow, reference = timed(loop, points)
    fast, found = timed(pairwise_wmd, list(topics), vectors)
    seconds["loop"].append(round(slow, 2)); seconds["pairwise_wmd"].append(round(fast, 2)); ratios.append(round(slow / fast, 1))
    print(f"loop {slow:.1f} s, pairwise_wmd {fast:.2f} s: {slow / fast:.1f} times less", flush=True)

member = np.zeros((args.n_topics, len(vectors)), np.float32)
member[np.arange(args.n_topics)[:, None], topics] = 1
shares = member @ member.T > 0
exact = reference.copy()
for a, b in zip(*np.nonzero(np.triu(shares, 1))): exact[a, b] = exact[b, a] = ot.emd2([], [], cdist(points[a], points[b]))
agree = float(np.abs(found - exact).max())
machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), threads=os.environ["OMP_NUM_THREADS"], numpy=np.__version__, scipy=scipy.__version__, pot=ot.__version__)
pairs = np.triu_indices(args.n_topics, 1)
print(json.dumps(dict(bench="wmd", ratio=float(np.median(ratios)), ratios=ratios, agree=agree, ot_dist_error=float(np.abs(exact - reference).max()),
    mean=float(exact[pairs].mean()), topics=args.n_topics, words=args.words, distinct=len(np.unique(topics)), random=args.random, cpu_seconds=seconds, machine=machine)))

#!/usr/bin/env python3
"""What each step costs as documents, features, words and topics grow, with what the machine could do at best.

    OMP_NUM_THREADS=1 python bench/scaling.py [--out results] [--small]

On one thread, in CPU seconds, the median of some rounds: the machine's peak for products in float32 and bfloat16, for copies, and for gathers from a table in
its cache; a training step against F and against d; a pass of the words' fit against documents, F and V; embedding, counting and encoding against documents; merging against T and F;
Word Mover's Distance against T. Beside each, the operations and the bytes that the step cannot do without, from which `roofline` is the least time they would take.
Writes scaling.csv and scaling.json; the last line is a JSON object: `ratio` is the median of measured over least time, `ratios` that of each job.
`--small` runs all of it in under a minute, to see that it runs.
"""
import argparse, json, os, platform, time
os.environ.setdefault("OMP_NUM_THREADS", "1"); os.environ.setdefault("OPENBLAS_NUM_THREADS", "1"); os.environ.setdefault("NUMBA_NUM_THREADS", "1")
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from saetm.corpus import count_words, write_json
from saetm.data import load_corpus
from saetm.embedding import as_encoder, pick_precision
from saetm.emission import em_pass, fit_background
from saetm.word_fitting import pick_visit
from saetm.merging import cluster_features
from saetm.metrics import pairwise_wmd
from saetm.sae import SAE, encode_sparse, set_scaling_
from saetm.fast.sae_cpu import SparseStep
from saetm.training import start_at_documents_

rows, best = [], {}


def seconds_of(work, rounds=3, most=4.0):
    "CPU seconds of one call: the median of some rounds, each as long as it takes to be measured."
    work()
    found = []
    for _ in range(rounds):
        calls, start = 0, time.process_time()
        while calls == 0 or time.process_time() - start < min(.2, most): work(); calls += 1
        found.append((time.process_time() - start) / calls)
    return float(np.median(found))


def peaks(small):
    "What one thread can do at best: operations and bytes a second."
    n = 512 if small else 2048
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
        best[str(kind).removeprefix("torch.")] = 2 * n**3 / seconds_of(lambda: a @ b)
    source = np.ones(2**22 if small else 2**26, np.float32)
    target = np.ones_like(source)
    best["copy"] = 2 * source.nbytes / seconds_of(lambda: np.copyto(target, source))
    table, place = source[:2**18], np.random.default_rng(0).integers(2**18, size=2**18)          # 1 MB: stays in the second cache
    best["gather"] = len(place) / seconds_of(lambda: table.take(place, out=target[:len(place)], mode="clip"))
    print({name: f"{value:.3g}" for name, value in best.items()}, flush=True)


def note(job, against, value, seconds, operations=0.0, moved=0.0, gathered=0.0, kind="float32", **more):
    "Keep one measurement, with the least time that the machine would need for it."
    least = max(operations / best[kind], moved / best["copy"], gathered / best["gather"])
    rows.append(dict(job=job, against=against, value=value, cpu_seconds=seconds, operations=operations, bytes=moved, gathered=gathered, roofline=least, **more))
    print(f"{job:9} {against} = {value:>9,}: {seconds:9.4f} s, at best {least:.4f}", flush=True)


def training(d, F, k, batch, against, value):
    "One step: the encoder's product cannot be avoided; Adam reads and writes weights, gradients and two averages."
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(batch, d) + 2 * torch.randn(200, d)[torch.randint(200, (batch,))], dim=1)
    sae = start_at_documents_(set_scaling_(SAE(d, F, "topk", k=k), x), x.numpy())
    bf16 = pick_precision("cpu") == "bfloat16"
    step, optimizer = SparseStep(sae, bf16=bf16), torch.optim.Adam(sae.parameters(), lr=1e-4, fused=True)

    def work(): step(x); optimizer.step(); step.after()
    note("training", against, value, seconds_of(work), 2 * batch * d * F + 6 * batch * k * d, 4 * 2 * d * F * 7, kind="bfloat16" if bf16 else "float32", per=batch)


def counts_like(D, F, V, words, k, seed=0):
    "Random documents with about `words` words and `k` features each, their frequencies falling like Zipf's."
    rng = np.random.default_rng(seed)
    word = (V * rng.random((D, words)) ** 3).astype(np.int32)                                   # p(w) falls with the rank
    bow = sparse.csr_matrix((np.ones(word.size, np.float32), word.ravel(), np.arange(0, word.size + 1, words)), shape=(D, V))
    bow.sum_duplicates()
    feature = np.sort(rng.integers(F, size=(D, k)).astype(np.int32), 1)
    theta = sparse.csr_matrix((np.full(feature.size, 1 / k, np.float32), feature.ravel(), np.arange(0, feature.size + 1, k)), shape=(D, F))
    theta.sum_duplicates()
    return theta, bow


def words(D, F, V, against, value, per_doc=100, k=32):
    "The second pass of the fit of the words: a number looked up for each count and feature, and one added for each."
    theta, bow = counts_like(D, F, V, per_doc, k)
    background = fit_background(bow)
    first = em_pass(theta, bow, None, background, visit=pick_visit(bow)).emission
    pairs = float((np.diff(theta.indptr).astype(float) * np.diff(bow.indptr)).sum())
    note("words", against, value, seconds_of(lambda: em_pass(theta, bow, first, background, visit=pick_visit(bow)), rounds=2), moved=12 * bow.nnz + 8 * theta.nnz + 16 * first.nnz, gathered=2 * pairs, per=D)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="results")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    few = (lambda *values: values[:2]) if args.small else (lambda *values: values)
    scale = 20 if args.small else 1
    peaks(args.small)
    for F in few(384, 768, 1536, 3072, 6144, 12288): training(384, F, 32, 1024, "F", F)
    for d in few(128, 256, 384, 768, 1536): training(d, 1536, 32, 1024, "d", d)
    for D in few(1_000, 3_000, 10_000, 30_000, 100_000): words(D // scale, 1536, 10_000, "documents", D)
    for F in few(384, 768, 1536, 3072, 6144): words(10_000 // scale, F, 10_000, "F", F)
    for V in few(3_000, 10_000, 30_000, 100_000): words(10_000 // scale, 1536, V, "V", V)
    docs = load_corpus("wikipedia").text.tolist()
    for D in few(1_000, 2_000, 5_000, 10_000):
        part = docs[:D // scale]
        note("counting", "documents", D, seconds_of(lambda: count_words(part), rounds=2), moved=sum(map(len, part)), per=D)
    encoder, about = as_encoder("all-MiniLM-L6-v2", "cpu"), dict(kind="bfloat16" if pick_precision("cpu") == "bfloat16" else "float32")
    multiplied = sum(weight.numel() for name, weight in encoder.weights.items() if torch.is_tensor(weight) and weight.ndim == 2 and "embeddings" not in name)
    for D in few(32, 64, 128, 256):
        tokens = sum(len(found.ids) for found in encoder.tokenizer.encode_batch(docs[:D]))
        note("embedding", "documents", D, seconds_of(lambda: encoder.encode(docs[:D]), rounds=2), 2 * tokens * multiplied, per=D, **about)
    for D in few(1_000, 3_000, 10_000, 30_000):
        emb = np.random.default_rng(0).normal(size=(D // scale, 384)).astype(np.float32)
        sae = start_at_documents_(set_scaling_(SAE(384, 1536, "topk", k=32), emb), emb)
        note("encoding", "documents", D, seconds_of(lambda: encode_sparse(sae, emb), rounds=2), 2 * len(emb) * 384 * 1536, emb.nbytes + 8 * 32 * len(emb), per=D)
    points = np.random.default_rng(0).normal(size=(12288, 64)).astype(np.float32)
    for T in few(50, 100, 200, 300, 500): note("merging", "T", T, seconds_of(lambda: cluster_features(points[:1536 // scale * 2], np.ones(1536 // scale * 2), min(T, 100 if args.small else T)), rounds=2), 2 * 3072 * 64 * T)
    for F in few(768, 1536, 3072, 6144, 12288): note("merging", "F", F, seconds_of(lambda: cluster_features(points[:F], np.ones(F), 50), rounds=2), 2 * F * 64 * 50)
    vectors = np.random.default_rng(0).normal(size=(20_000, 256))
    for T in few(50, 100, 200, 500):
        topics = [np.random.default_rng([1, t]).choice(20_000, 20, replace=False) for t in range(T)]
        note("diversity", "T", T, seconds_of(lambda: pairwise_wmd(topics, vectors), rounds=2), 2 * (20 * T)**2 * 256, per=T * (T - 1) // 2)
    table = pd.DataFrame(rows)
    machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), threads=1, torch=torch.__version__, numpy=np.__version__, bf16=pick_precision("cpu") == "bfloat16")
    table.to_csv(Path(args.out) / "scaling.csv", index=False, float_format="%.6g")
    write_json(Path(args.out) / "scaling.json", dict(peaks=best, machine=machine))
    over = (table.cpu_seconds / table.roofline).groupby(table.job, sort=False).median()
    print(json.dumps(dict(bench="scaling", ratio=round(float(over.median()), 1), ratios={job: round(value, 1) for job, value in over.items()}, peaks={name: float(f"{value:.3g}") for name, value in best.items()}, machine=machine)))


if __name__ == "__main__":
    main()

"""One pass of expectation maximisation over a million documents against scipy's sparse products, and the memory of a whole fit.

    python bench/emission_scale.py [--docs 1000000] [--rounds 3] [--threads 2] [--no-fit]

The documents are made here: each has 32 of 3072 features with shares that fall like a power law, and about 100 different words of 30,000, a fifth of its tokens from a Zipf law that all
share and the rest from its features, each a Zipf law over 1500 words of its own. Both sides start from the emission of one pass over all documents. Each round runs one pass of `em_pass`
over all documents, and one of scipy over a part of them, in turn; scipy's seconds are multiplied up by documents, and not charged for adding up its chunks. Scipy's side has three ways to the words'
probabilities, each with scipy's product of sparse matrices for the gradient:

    sparse     theta @ emission, both sparse, then the counts' places picked
    dense      theta @ emission with a dense emission, then picked
    gathered   the entries of a dense emission at the counts' places, feature after feature of a document, by numpy

`ratio` is of CPU seconds, against the quickest of the three; `ratio_wall` of seconds by the clock, with --threads threads on one side and one on the other, since scipy's products know no
threads. `agree` is the largest difference of an entry of the new emission from scipy's, relative to it, over the documents of scipy's part; `agree_torch` the same for `WordsOnDevice` on the processor.
The fit, five passes, runs first, in a process of its own that makes its documents, too: its peak memory is all that this process ever held.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")

import numpy as np
import scipy
from scipy import sparse

N_ACTIVE, N_LATENTS, N_WORDS, N_TOKENS = 32, 3072, 30_000, 105


def quantiles(n, power, resolution=2**16):
    "Numbers 0..n-1 as often as a power law wants them: look up a random number, get a draw (resolution,)."
    p = 1 / (np.arange(n) + 2.7) ** power
    return np.searchsorted(np.cumsum(p / p.sum()), (np.arange(resolution) + .5) / resolution).clip(0, n - 1).astype(np.int32)


def make_documents(n_docs=1_000_000, n_active=N_ACTIVE, n_latents=N_LATENTS, n_words=N_WORDS, n_tokens=N_TOKENS, support=1500, seed=0, step=10_000):
    "Documents of which each feature has its own words: theta (D, F), and bow (D, V) with nearly n_tokens different words a document, CSR."
    rng, support, width = np.random.default_rng(seed), min(support, n_words), n_latents // n_active
    def draw(table, shape): return table[rng.integers(0, len(table), shape, dtype=np.uint16)]
    share = 1 / (np.arange(n_active) + 1.5)
    share = (share / share.sum()).astype(np.float32)
    which = np.searchsorted(np.cumsum(share), (np.arange(2**16) + .5) / 2**16).clip(0, n_active - 1)
    common, rank, member = quantiles(n_words, 1), quantiles(support, 1), quantiles(width, .7)
    rare = .7 * np.log(np.arange(n_words) + 2.7)                                   # a common word belongs to more features
    vocabulary = np.stack([rng.permutation(np.argpartition(rare - rng.gumbel(size=n_words), support - 1)[:support]) for _ in range(n_latents)]).astype(np.int32)
    features, shares = np.empty((n_docs, n_active), np.int32), np.empty((n_docs, n_active), np.float32)
    words, counts, ends, end = np.empty(n_docs * n_tokens, np.int32), np.empty(n_docs * n_tokens, np.int32), [0], 0
    for start in range(0, n_docs, step):
        n = min(step, n_docs - start)
        order = rng.permuted(np.tile(np.arange(n_active), (n, 1)), axis=1)         # one feature of each of 32 groups; which of them is the largest is chance
        mine = order * width + draw(member, (n, n_active))
        said = vocabulary[np.take_along_axis(mine, draw(which, (n, n_tokens)), 1), draw(rank, (n, n_tokens))]
        said = np.sort(np.where(rng.integers(0, 10, (n, n_tokens), dtype=np.uint8) < 2, draw(common, (n, n_tokens)), said), 1)
        new = np.ones(said.shape, bool); new[:, 1:] = said[:, 1:] != said[:, :-1]
        at = np.flatnonzero(new)
        words[end:end + len(at)], counts[end:end + len(at)] = said.ravel()[at], np.diff(at, append=said.size)
        place = np.argsort(mine, 1)
        features[start:start + n], shares[start:start + n] = np.take_along_axis(mine, place, 1), share[place]
        ends.append(end + np.cumsum(new.sum(1))); end += len(at)
    theta = sparse.csr_matrix((shares.ravel(), features.ravel(), np.arange(0, n_docs * n_active + 1, n_active)), shape=(n_docs, n_latents))
    return theta, sparse.csr_matrix((counts[:end], words[:end], np.hstack(ends)), shape=(n_docs, n_words))


def fit_on(device, theta, bow, **settings):
    "Run `fit_emission` on a device -> its result, and seconds by the clock."
    from saetm.word_fitting import fit_emission
    start = time.perf_counter()
    found = fit_emission(theta, bow, device=device, **settings)                    # the emission is back in memory: nothing is left to wait for
    return found, time.perf_counter() - start


def gathered(theta, emission, bow):
    "theta @ emission at the places of bow, for a dense emission."
    order = np.argsort(-np.diff(theta.indptr), kind="stable")
    theta, counts = theta[order], bow[order]
    active, n_words, out = np.diff(theta.indptr), np.diff(counts.indptr), np.zeros(bow.nnz, np.float32)
    for j in range(active.max()):
        docs = np.count_nonzero(active > j)
        at, places = theta.indptr[:docs] + j, slice(0, counts.indptr[docs])
        out[places] += np.repeat(theta.data[at], n_words[:docs]) * emission.ravel()[np.repeat(theta.indices[at].astype(np.int64) * emission.shape[1], n_words[:docs]) + counts.indices[places]]
    back = np.argsort(order, kind="stable")
    return sparse.csr_matrix((out, counts.indices, counts.indptr), shape=bow.shape)[back].data


def scipy_gradient(theta, bow, emission, background, pi, way):
    "Gradient (F, V) of the log likelihood with scipy's products. Every feature has words here."
    rows = np.repeat(np.arange(bow.shape[0]), np.diff(bow.indptr))
    mixed = gathered(theta, emission, bow) if way == "gathered" else np.asarray((theta @ emission)[rows, bow.indices]).ravel()
    prob = pi * background[bow.indices] + (1 - pi) * mixed
    return theta.T.tocsr() @ sparse.csr_matrix((((1 - pi) * bow.data / prob).astype(np.float32), bow.indices, bow.indptr), shape=bow.shape)


def timed(function, *arguments, **settings):
    "CPU seconds, seconds by the clock, and the result."
    cpu, clock = time.process_time(), time.perf_counter()
    result = function(*arguments, **settings)
    return time.process_time() - cpu, time.perf_counter() - clock, result


def peak_gb():
    "The most memory that this process has held."
    with open("/proc/self/status") as file: return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e9


def run_fit(args):
    "Make the documents, fit, and print what it took."
    import torch
    torch.set_num_threads(args.threads)
    (_, made, (theta, bow)), marks = timed(make_documents, args.docs), []
    before = peak_gb()
    cpu, clock, _ = timed(fit_on, args.device, theta, bow, passes=args.passes, on_step=lambda n, values: marks.append(dict(seconds=round(time.perf_counter(), 2), peak_gb=round(peak_gb(), 2), log_likelihood=values["log_likelihood"])))
    steps = [round(b["seconds"] - a["seconds"], 1) for a, b in zip(marks[:-1], marks[1:])]
    print(json.dumps(dict(docs=args.docs, counts=bow.nnz, passes=args.passes, making_seconds=round(made, 1), fit_seconds=round(clock, 1), fit_cpu_seconds=round(cpu, 1), seconds_of_later_passes=steps,
        data_gb=round(sum(part.nbytes for a in (theta, bow) for part in (a.data, a.indices, a.indptr)) / 1e9, 2), peak_gb_made=round(before, 2), peak_gb_of_passes=[mark["peak_gb"] for mark in marks], peak_gb=round(peak_gb(), 2),
        log_likelihood_per_count=[round(mark["log_likelihood"] / bow.nnz, 4) for mark in marks])))


def difference(found, reference):
    "Largest relative difference of two emissions, entry by entry."
    found, reference = found.tocsr().toarray(), reference.toarray()
    return float((np.abs(found - reference) / np.maximum(reference, 1e-12)).max())


def quality(seeds=(0, 1, 2)):
    "Held-out perplexity on the Wikipedia corpus of three ways to the same fit, SAE by SAE: what --quality prints."
    from saetm.corpus import count_words
    from saetm.data import load_corpus
    from saetm.embedding import embed
    from saetm.emission import fit_background, fit_em, idf_weights, perplexity, theta_from_acts
    from saetm.fast.words import from_device
    from saetm.word_fitting import fit_emission, _steps_on_device
    from saetm.sae import encode_sparse
    from saetm.sae_fitting import fit_sae
    docs = load_corpus("wikipedia").text.tolist()
    emb, bow = np.asarray(embed(docs, "wordllama")), count_words(docs, min_df=5).counts
    order = np.random.default_rng(2026).permutation(len(docs))                      # not the numbers by which an SAE chooses the documents that it starts from
    test, fit = np.sort(order[:len(docs) // 10]), np.sort(order[len(docs) // 10:])
    print("| seed | plain | compiled | with torch | largest relative difference |\n|---|---|---|---|---|")
    for seed in seeds:
        theta = theta_from_acts(encode_sparse(fit_sae(emb, seed=seed, steps=1000), emb, attribution=True))
        plain, compiled = (fit_emission(theta[fit], bow[fit], seed=seed, passes=3, numba=numba) for numba in (False, True))
        weights = idf_weights(bow[fit].getnnz(0), len(fit))
        steps = _steps_on_device(theta[fit], bow[fit], weights, fit_background(bow[fit]), .1, 0., None, 2**22, "cpu")
        found = [plain.emission, compiled.emission, from_device(fit_em(*steps, 3, False)[0])]
        scores = [perplexity(theta[test], bow[test], emission, plain.background) for emission in found]
        worst = max(float(np.abs(other.toarray() / np.maximum(dense, 1e-30) - 1)[dense > 1e-12].max()) for other in found[1:] for dense in [plain.emission.toarray()])
        print(f"| {seed} | " + " | ".join(f"{score:.4f}" for score in scores) + f" | {worst:.1e} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passes", type=int, default=5, help="of the fit whose memory is measured")
    parser.add_argument("--device", default="cpu", help="of that fit")
    parser.add_argument("--no-fit", action="store_true", help="only the passes")
    parser.add_argument("--fit-only", action="store_true", help="only the fit, in this process")
    parser.add_argument("--quality", action="store_true", help="only the held-out perplexity on the Wikipedia corpus, plain and fast")
    args = parser.parse_args()
    if args.quality: return quality()
    if args.fit_only: return run_fit(args)
    fit = None
    if not args.no_fit:
        command = [sys.executable, __file__, "--fit-only", "--docs", str(args.docs), "--threads", str(args.threads), "--passes", str(args.passes), "--device", args.device]
        fit = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"fit of {args.passes} passes over {fit['docs']:,} documents: {fit['fit_seconds']} s, peak memory {fit['peak_gb']} GB, of which the documents {fit['data_gb']} GB", flush=True)

    import numba
    import torch
    from saetm.emission import em_pass, fit_background
    from saetm.fast.words import WordsOnDevice, compiled_visit, from_device
    torch.set_num_threads(args.threads)
    pi, (theta, bow) = .1, make_documents(args.docs)
    background = fit_background(bow)
    compiling = timed(em_pass, theta[:100], bow[:100], None, background, visit=compiled_visit())[1]
    emission = em_pass(theta, bow, None, background, visit=compiled_visit()).emission
    print(f"{args.docs:,} documents, {bow.nnz / args.docs:.1f} words and {theta.nnz / args.docs:.1f} features in each; {emission.nnz / np.prod(emission.shape):.0%} of the emission is not zero", flush=True)
    by_feature, dense = emission.tocsr(), emission.toarray(order="C")
    ways = dict(sparse=(by_feature, 400), dense=(dense, 2000), gathered=(dense, 20_000))
    seconds = {name: [] for name in ["em_pass", *ways]}
    for number in range(args.rounds):
        cpu, clock, _ = timed(em_pass, theta, bow, emission, background, pi, visit=compiled_visit())
        seconds["em_pass"].append((cpu, clock))
        for way, (matrix, n) in ways.items():
            n = min(n, args.docs)
            cpu, clock, gradient = timed(scipy_gradient, theta[:n], bow[:n], matrix, background, pi, way)
            seconds[way].append((cpu * bow.nnz / bow.indptr[n], clock * bow.nnz / bow.indptr[n]))
        print(f"round {number + 1}, CPU and wall seconds a pass: " + ", ".join(f"{name} {times[-1][0]:.1f} and {times[-1][1]:.1f}" for name, times in seconds.items()), flush=True)
    quickest = min(ways, key=lambda way: np.median([cpu for cpu, _ in seconds[way]]))
    ratios, walls = ([round(other[i] / own[i], 2) for own, other in zip(seconds["em_pass"], seconds[quickest])] for i in (0, 1))

    n = min(2000, args.docs)
    some, counts = theta[:n], bow[:n]
    gradient = scipy_gradient(some, counts, dense, background, pi, "gathered").tocsr()
    said = gradient.multiply(dense).tocsr()
    reference = sparse.diags(1 / np.maximum(np.asarray(said.sum(1)).ravel(), 1e-30)) @ said
    on_cpu = WordsOnDevice(some, counts, background, None, pi, 0, "cpu")
    by_torch = from_device(on_cpu.em_pass(torch.from_numpy(emission.T.toarray()))[0])
    agree, agree_torch = difference(em_pass(some, counts, emission, background, pi, visit=compiled_visit()).emission, reference), difference(by_torch, reference)
    machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), threads=args.threads, numpy=np.__version__, scipy=scipy.__version__, numba=numba.__version__, torch=torch.__version__)
    print(json.dumps(dict(bench="emission_scale", ratio=float(np.median(ratios)), ratios=ratios, ratio_wall=float(np.median(walls)), ratios_wall=walls, agree=agree, agree_torch=agree_torch, against=quickest, docs=args.docs, counts=bow.nnz,
        documents_of_scipy={way: min(n, args.docs) for way, (_, n) in ways.items()}, cpu_seconds={name: [round(cpu, 1) for cpu, _ in times] for name, times in seconds.items()},
        wall_seconds={name: [round(clock, 1) for _, clock in times] for name, times in seconds.items()}, compile_or_load_seconds=round(compiling, 2), fit=fit, machine=machine)))


if __name__ == "__main__":
    main()

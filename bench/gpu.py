#!/usr/bin/env python3
"""The GPU rows of the benchmark, in one call: no network, nothing but the repository, torch, numpy, scipy and safetensors.

    python bench/gpu.py                                # all rows on the first GPU, in about 9 minutes; writes results/gpu.json and results/gpu.md
    python bench/gpu.py --rows paper wide              # some of them
    python bench/gpu.py --device cpu --small           # the whole script at tiny sizes, in about a minute: a check of the script, not of speed

Every row runs in a process of its own, so that one that fails or hangs takes no other with it, and what is finished is on disk at once.

| row | what runs | beside it, in the same process |
|---|---|---|
| ceilings | a large copy on the device, a large product in bfloat16 | |
| agree | loss and gradients of the fast step on random data | the plain one: float32 without TF32, autograd, torch's Adam |
| paper | 50,000 steps of 1,000 documents, d = 768, F = 3,072 | the paper's 600 s, and some plain steps |
| wide | d = 768, F = 49,152, k = 32, 4,096 documents a step: a minute of steady state | plain steps, in turn |
| emission | EM on 1M documents x 100 words x 32 features, F = 3,072, V = 30,000 | AdamW on dense logits |
| quality | explained variance, L0 and dead share after the same number of steps, three seeds | the plain step |
| reading | batches of embeddings on the host, brought to the device | a plain copy |
"""
import argparse
import contextlib
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from saetm.fast.gpu import DeviceShuffle, GPUStep, roofline  # noqa: E402
from saetm.fast.kernels import centred_rows, dense_acts, find_entries, product, spread, triton  # noqa: E402
from saetm.sae import SAE, set_scaling_  # noqa: E402
from saetm.training import SAEStep, Shuffle, default_lr, fit, start_at_documents_, warm_then_decay  # noqa: E402

ROWS = ("ceilings", "agree", "paper", "wide", "emission", "quality", "reading")
SECONDS = dict(ceilings=40, agree=120, paper=110, wide=140, emission=160, quality=100, reading=40)   # at most, the start of the process included
FULL = dict(paper=dict(n_docs=50_000_000, d=768, n_latents=3072, k=32, batch=1000, steps=50_000, planted=2000),
            wide=dict(n_docs=4_000_000, d=768, n_latents=49_152, k=32, batch=4096, seconds=60, plain_seconds=20, total=3.28e9, planted=32_768),
            emission=dict(n_docs=1_000_000, words=100, active=32, n_latents=3072, n_words=30_000, batch=1024, epochs=50),
            quality=dict(n_docs=1_000_000, d=768, k=32, cases=[("topk", 3072, 1000, 1000), ("batch_topk", 3072, 1000, 1000), ("topk", 49_152, 4096, 100)], planted=2000),
            reading=dict(n_docs=1_000_000, d=768, batch=1000, seconds=5), ceilings=dict(copy=2**32, product=8192), agree=dict(sizes=[(1000, 3072), (4096, 49_152)], d=768, k=32))
SMALL = dict(paper=dict(n_docs=5000, d=32, n_latents=128, k=4, batch=100, steps=300, planted=80),
             wide=dict(n_docs=5000, d=32, n_latents=1024, k=4, batch=128, seconds=2, plain_seconds=1, total=1e6, planted=200),
             emission=dict(n_docs=2000, words=40, active=6, n_latents=64, n_words=400, batch=256, epochs=5),
             quality=dict(n_docs=4000, d=32, k=4, cases=[("topk", 128, 100, 80), ("batch_topk", 128, 100, 80), ("topk", 1024, 128, 40)], planted=80),
             reading=dict(n_docs=20_000, d=64, batch=500, seconds=0.5), ceilings=dict(copy=2**20, product=128), agree=dict(sizes=[(64, 96), (64, 1024)], d=32, k=4))
TARGETS = dict(paper="20 s at most, aim for 10 (paper: about 600)", wide="8 times a plain step; aim for 30 minutes in all",
               emission="50 times AdamW at equal or better held-out likelihood; aim for 5 s", agree="within the tolerances stated", quality="within the spread of the seeds")


# ---------------------------------------------------------------- what every row uses

def wait(device):
    "Wait until the device has done what it was given."
    if device.type == "cuda": torch.cuda.synchronize(device)


def free_bytes(device):
    "Return the memory that is left on the device; 1 GB on the CPU, for the check of the script."
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**30


def machine(device):
    "Return what the numbers depend on."
    about = dict(torch=torch.__version__, triton=getattr(triton, "__version__", None), cuda=torch.version.cuda, python=platform.python_version(),
                 processor=platform.machine(), cores=os.cpu_count(), device=str(device))
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        about |= dict(gpu=facts.name, gpu_memory_gb=round(facts.total_memory / 1e9, 1), capability=f"{facts.major}.{facts.minor}", multiprocessors=facts.multi_processor_count)
        with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
            about["driver"] = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20).stdout.strip().splitlines()[0]
    return about


@torch.no_grad()
def make_embeddings(n_docs, d, device, planted, n_active=24, noise=0.08, seed=0, chunk=131_072):
    "Draw embeddings on the device, as the continuous topic model does: sparse positive codes times unit atoms, and noise. bfloat16 on a GPU."
    generator = torch.Generator(device).manual_seed(seed)
    atoms = torch.randn(planted, d, generator=generator, device=device)
    atoms /= atoms.norm(dim=1, keepdim=True)
    popularity = (1.0 / (torch.arange(planted, device=device) + 10.0)).cumsum(0)                    # a few common topics, many rare ones
    emb = torch.empty(n_docs, d, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32, device=device)
    for start in range(0, n_docs, chunk):
        n = min(chunk, n_docs - start)
        which = torch.searchsorted(popularity, torch.rand(n, n_active, generator=generator, device=device) * popularity[-1]).clamp_(max=planted - 1)
        strength = -torch.rand(n, n_active, generator=generator, device=device).clamp_(min=1e-7).log()
        rows = torch.nn.functional.embedding_bag(which, atoms, per_sample_weights=strength, mode="sum")
        emb[start:start + n] = rows.add_(torch.randn(n, d, generator=generator, device=device), alpha=noise)
    return emb


def make_sae(emb, n_latents, k, activation="topk", seed=0):
    "Start an SAE at documents, as `fit_sae` does, on the device of the embeddings."
    sample = emb[:65_536].float().cpu().numpy()
    sae = set_scaling_(SAE(emb.shape[1], n_latents, activation, k, seed), sample)
    return start_at_documents_(sae, sample, seed=seed).to(emb.device)


class Plain:
    "The plain step: float32 without TF32, everything dense, autograd, torch's Adam."

    def __init__(self, sae, emb, lr, dead_after):
        self.emb, self.step = emb, SAEStep(sae, dead_after=dead_after)
        self.optimizer = torch.optim.Adam(sae.parameters(), lr=lr)

    def __call__(self, index):
        values = self.step(self.emb[index].float())
        self.optimizer.step()
        self.step.after()
        return values


@torch.no_grad()
def measure(sae, emb, batch=4096):
    "Return explained variance, L0 and dead share on some rows, each for itself."
    sae.activation.calibrate_(sae, emb.float())
    error = variance = nonzeros = 0.0
    fired = torch.zeros(sae.n_latents, dtype=torch.bool, device=emb.device)
    for start in range(0, len(emb), batch):
        rows = emb[start:start + batch].float()
        acts = sae.encode(rows, keep_one=False)
        error, variance = error + float((sae.decode(acts) - rows).square().sum(dtype=torch.float64)), variance + float((rows - sae.mean).square().sum(dtype=torch.float64))
        nonzeros, fired = nonzeros + int((acts > 0).sum()), fired | (acts > 0).any(0)
    return dict(explained_variance=round(1 - error / variance, 5), l0=round(nonzeros / len(emb), 3), dead_share=round(float(1 - fired.float().mean()), 5))


def seconds_of(step, batches, first, n_steps, device):
    "Time `n_steps` steps."
    wait(device)
    start = time.perf_counter()
    for i in range(first, first + n_steps): step(batches(i))
    wait(device)
    return time.perf_counter() - start


def seconds_for(step, batches, first, seconds, device, group=10):
    "Run steps for some seconds; return how many, and the seconds they took."
    wait(device)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for i in range(first + done, first + done + group): step(batches(i))
        done += group
        wait(device)
    return done, time.perf_counter() - start


# ---------------------------------------------------------------- the rows

def row_ceilings(sizes, device, options):
    "What this device copies and multiplies in a second."
    a, b = torch.empty(sizes["copy"] // 4, device=device).normal_(), torch.empty(sizes["copy"] // 4, device=device)
    x = torch.randn(sizes["product"], sizes["product"], device=device).bfloat16()
    y = torch.randn(sizes["product"], sizes["product"], device=device).bfloat16()
    copies, products = [], []
    for _ in range(4):
        copies.append(seconds_of(lambda i: b.copy_(a), int, 0, 5, device) / 5)
        products.append(seconds_of(lambda i: x @ y, int, 0, 5, device) / 5)
    return dict(copy_tb_per_second=round(2 * 4 * len(a) / min(copies[1:]) / 1e12, 3), bf16_tflops=round(2 * sizes["product"] ** 3 / min(products[1:]) / 1e12, 1))


def plain_gradient(sae, x, kept):
    "Loss and gradients by autograd in float32 for the entries `kept` (n, F); the atoms' gradient projected."
    sae.zero_grad(set_to_none=True)
    loss = ((sae.pre_acts(x).relu() * kept) @ sae.W_dec + sae.b_dec - x).square().sum(1).mean()
    loss.backward()
    found = [sae.W_enc.grad.t().clone(), sae.W_dec.grad.clone(), sae.b_enc.grad.clone(), sae.b_dec.grad.clone()]
    found[1] -= (found[1] * sae.W_dec.data).sum(1, keepdim=True) * sae.W_dec.data
    sae.zero_grad(set_to_none=True)
    return float(loss.detach()), found


@torch.no_grad()
def kept_by(step, index):
    "Return which entries (n, F) the step keeps: near-equal ones at the edge fall one way or the other by rounding, and this is its way."
    sae, whole_batch = step.sae, step.sae.activation.keeps == "batch"
    _, x = centred_rows(step.emb, index, sae.mean, sae.scale, sae.b_dec, step.dtype, step.fused)
    pre = product(x, step.halves[0].t(), sae.b_enc, half=step.sparse)
    if step.sparse: return spread(find_entries(pre, sae.k, whole_batch, step.fused), sae.n_latents) > 0
    return dense_acts(pre, sae.k, whole_batch, step.dtype, step.fused) > 0


def row_agree(sizes, device, options):
    "The fast step beside the plain one, on random data: what it keeps is as large, and the gradients for what it keeps are the same."
    found, worst = {}, 0.0
    for batch, n_latents in sizes["sizes"]:
        for activation in ("topk", "batch_topk"):
            emb, index = make_embeddings(20 * batch, sizes["d"], device, planted=200), torch.arange(batch, device=device)
            sae = make_sae(emb, n_latents, sizes["k"], activation)
            start, x = {name: tensor.clone() for name, tensor in sae.state_dict().items()}, sae.normalize(emb[:batch])
            for name, bf16, bound in (("float32", False, 1e-3), ("bfloat16", True, 0.03)):
                sae.load_state_dict(start)
                step = GPUStep(sae, emb=emb, bf16=bf16, **options)
                step.begin(index)
                kept = kept_by(step, index)
                with torch.no_grad():
                    pre = sae.pre_acts(x)
                    acts, _ = sae.activation.train(sae, pre)
                    selection = abs(float((pre.relu() * kept).sum(dtype=torch.float64) / acts.sum(dtype=torch.float64)) - 1)
                    more = int(kept.sum()) - int((acts > 0).sum())
                del pre, acts
                loss, wanted = plain_gradient(sae, x, kept)
                values = {key: float(value) for key, value in step(index).items()}
                errors = [float((10 * moments.mean - gradient).norm() / gradient.norm()) for moments, gradient in zip(step.moments, wanted)]
                case = f"{activation}, F = {n_latents}, {name}"
                found[case] = dict(selection=round(selection, 7), gradient=[round(error, 6) for error in errors], loss=round(abs(values["loss"] / loss - 1), 7), bound=bound)
                print(f"  {case}: relative error of the sum of what is kept {found[case]['selection']}, of the gradients {found[case]['gradient']}, of the loss {found[case]['loss']}", flush=True)
                if not max(selection, *errors, found[case]["loss"]) < bound: raise AssertionError(f"{case}: {found[case]}: a relative error is above {bound}")
                if abs(more) > bound * batch * sizes["k"]: raise AssertionError(f"{case}: {more} entries more are kept than by the plain step")
                worst = max(worst, max(errors)) if not bf16 else worst
                del step, wanted, kept
            del sae, emb, x, start
    return dict(cases=found, agree=worst)


def row_paper(sizes, device, options):
    "The paper's job."
    n_docs = min(sizes["n_docs"], int(0.62 * free_bytes(device) / (2 * sizes["d"]))) if device.type == "cuda" else sizes["n_docs"]
    start = time.perf_counter()
    emb = make_embeddings(n_docs, sizes["d"], device, sizes["planted"])
    wait(device)
    made, lr = time.perf_counter() - start, 1e-3
    sae = make_sae(emb, sizes["n_latents"], sizes["k"])
    step, batches, curve = GPUStep(sae, lr=lr, dead_after=100_000, emb=emb, **options), DeviceShuffle(n_docs, sizes["batch"], 0, device), []
    start = time.perf_counter()
    step.begin(batches(0))                                                                          # kernels compiled, graphs captured
    wait(device)
    prepared, start = time.perf_counter() - start, time.perf_counter()
    fit(step, batches, sizes["steps"], step.optimizer, warm_then_decay(sizes["steps"]), step.after, lambda i, values: curve.append(dict(values, step=i)), every=max(1, sizes["steps"] // 20))
    wait(device)
    seconds = time.perf_counter() - start
    found = dict(documents=n_docs, passes=round(sizes["steps"] * sizes["batch"] / n_docs, 3), steps=sizes["steps"], seconds_to_make_data=round(made, 2), seconds_to_prepare=round(prepared, 2),
                 seconds=round(seconds, 3), microseconds_a_step=round(1e6 * seconds / sizes["steps"], 1), ratio_to_paper=round(600 / (seconds + prepared), 1), **measure(sae, emb[-65_536:]), curve=curve)
    if n_docs < sizes["n_docs"]: found["note"] = f"{n_docs} documents fit beside the rest, not {sizes['n_docs']}: later steps see them again"
    floor = roofline(sizes["batch"], sizes["d"], sizes["n_latents"], sizes["k"], step.sparse)
    found["roofline_seconds"] = round(floor["step"] * sizes["steps"], 2)
    print(f"  {found}", flush=True)
    plain = Plain(make_sae(emb, sizes["n_latents"], sizes["k"]), emb, lr, 100_000)
    n_plain = max(10, min(300, sizes["steps"] // 20))
    seconds_of(plain, batches, 0, 10, device)
    found["plain_microseconds_a_step"] = round(1e6 * seconds_of(plain, batches, 10, n_plain, device) / n_plain, 1)
    found["ratio"] = round(found["plain_microseconds_a_step"] / found["microseconds_a_step"], 2)
    for activation in ("batch_topk", "relu"):                                                       # the other kinds, a tenth of the way
        other = GPUStep(make_sae(emb, sizes["n_latents"], sizes["k"], activation), lr=lr, dead_after=100_000, emb=emb, **options)
        seconds_of(other, batches, 0, 10, device)
        found[f"{activation}_microseconds_a_step"] = round(1e6 * seconds_of(other, batches, 10, sizes["steps"] // 10, device) / (sizes["steps"] // 10), 1)
    return found


def row_wide(sizes, device, options):
    "Many features: steady state of both steps, in turn."
    n_docs = min(sizes["n_docs"], int(0.2 * free_bytes(device) / (2 * sizes["d"]))) if device.type == "cuda" else sizes["n_docs"]
    emb = make_embeddings(n_docs, sizes["d"], device, sizes["planted"])
    lr, batches = default_lr(sizes["n_latents"]), DeviceShuffle(n_docs, sizes["batch"], 0, device)
    step = GPUStep(make_sae(emb, sizes["n_latents"], sizes["k"]), lr=lr, dead_after=1_000_000, emb=emb, **options)
    plain = Plain(make_sae(emb, sizes["n_latents"], sizes["k"]), emb, lr, 1_000_000)
    seconds_of(step, batches, 0, 50, device), seconds_of(plain, batches, 0, 3, device)
    done, ratios, rates = 50, [], []
    for number in range(3):
        n_fast, fast = seconds_for(step, batches, done, sizes["seconds"] / 3, device, 50)
        n_plain, slow = seconds_for(plain, batches, 3 + number, sizes["plain_seconds"] / 3, device, 5)
        done += n_fast
        rates.append((fast / n_fast, slow / n_plain))
        ratios.append(rates[-1][1] / rates[-1][0])
        print(f"  round {number + 1}: {1e3 * rates[-1][0]:.3f} and {1e3 * rates[-1][1]:.3f} ms a step, ratio {ratios[-1]:.1f}", flush=True)
    ours, theirs = (statistics.median(column) for column in zip(*rates))
    total = ours * sizes["total"] / sizes["batch"]
    floor = roofline(sizes["batch"], sizes["d"], sizes["n_latents"], sizes["k"], step.sparse)
    return dict(ratio=round(statistics.median(ratios), 2), ratios=[round(ratio, 2) for ratio in ratios], milliseconds_a_step=round(1e3 * ours, 4), plain_milliseconds_a_step=round(1e3 * theirs, 3),
                steps=done, documents=n_docs, minutes_in_all=round(total / 60, 2), roofline_milliseconds=round(1e3 * floor["step"], 3), revival=bool(step.now.revive), **measure(step.sae, emb[-16_384:], 1024),
                gpu_gb=round(torch.cuda.max_memory_allocated(device) / 1e9, 2) if device.type == "cuda" else None)


def row_quality(sizes, device, options):
    "What is learned in the same number of steps."
    emb = make_embeddings(sizes["n_docs"], sizes["d"], device, sizes["planted"])
    table = []
    for activation, n_latents, batch, steps in sizes["cases"]:
        lr, dead_after = default_lr(n_latents), 20 * batch
        for seed in range(3):
            batches = DeviceShuffle(sizes["n_docs"] - 65_536 if sizes["n_docs"] > 100_000 else sizes["n_docs"], batch, seed, device)
            for name in ("plain", "fast"):
                sae = make_sae(emb, n_latents, sizes["k"], activation, seed)
                if name == "plain":
                    step = Plain(sae, emb, lr, dead_after)
                    for i in range(steps):
                        for group in step.optimizer.param_groups: group["lr"] = lr * warm_then_decay(steps)(i)
                        step(batches(i))
                else:
                    step = GPUStep(sae, lr=lr, dead_after=dead_after, emb=emb, **options)
                    fit(step, batches, steps, step.optimizer, warm_then_decay(steps), step.after)
                table.append(dict(activation=activation, n_latents=n_latents, steps=steps, seed=seed, step=name, **measure(sae, emb[-65_536:], 1024)))
                print(f"  {table[-1]}", flush=True)
                del step, sae
    return dict(table=table, spread=[compare(table, activation, n_latents) for activation, n_latents, *_ in sizes["cases"]])


def compare(table, activation, n_latents):
    "Compare the means over the seeds with the spread of the plain step's."
    found = dict(activation=activation, n_latents=n_latents)
    for name in ("explained_variance", "l0", "dead_share"):
        plain, fast = ([row[name] for row in table if (row["activation"], row["n_latents"], row["step"]) == (activation, n_latents, step)] for step in ("plain", "fast"))
        found[name] = f"{statistics.mean(plain):.4f} and {statistics.mean(fast):.4f}, spread {max(plain) - min(plain):.4f}"
    return found


def row_reading(sizes, device, options):
    "Embeddings on the host, in batches on the device."
    emb = np.random.default_rng(0).standard_normal((sizes["n_docs"], sizes["d"]), dtype=np.float32)
    plain = torch.from_numpy(emb[:min(len(emb), 2**28 // (4 * sizes["d"]))])
    gigabytes, found = plain.nbytes / 1e9, {}
    found["plain_copy_gb_per_second"] = round(gigabytes / min(seconds_of(lambda i: plain.to(device, copy=True), int, 0, 1, device) for _ in range(4)), 2)
    if device.type == "cuda":
        pinned = plain.pin_memory()
        found["pinned_copy_gb_per_second"] = round(gigabytes / min(seconds_of(lambda i: pinned.to(device, non_blocking=True), int, 0, 1, device) for _ in range(4)), 2)

    class Elsewhere:                                                                                # hides that the rows are an array in memory
        def __init__(self, rows): self.rows, self.shape, self.dtype = rows, (10**9, rows.shape[1]), rows.dtype
        def __getitem__(self, index): return self.rows[index % len(self.rows)]
    for name, shuffle in (("windows_read_ahead", Shuffle(Elsewhere(emb), sizes["batch"], device=device)), ("held_on_the_device", Shuffle(emb, sizes["batch"], device=device))):
        seconds_of(lambda batch: batch, shuffle, 0, 5, device)
        done, seconds = seconds_for(lambda batch: batch, shuffle, 5, sizes["seconds"], device)
        found[f"{name}_gb_per_second"] = round(done * sizes["batch"] * sizes["d"] * 4 / seconds / 1e9, 2)
    return found


# ---------------------------------------------------------------- words of features

@torch.no_grad()
def make_documents(sizes, device, seed=0, chunk=50_000):
    "Draw documents as bench/emission_scale.py does, on the device: one feature of each group, shares by a power law, words from the features' own Zipf laws and, one in five, from that of all."
    n_docs, n_active, F, V = sizes["n_docs"], sizes["active"], sizes["n_latents"], sizes["n_words"]
    generator, n_tokens, width = torch.Generator(device).manual_seed(seed), int(1.05 * sizes["words"]), F // n_active
    support = min(1500, V // 4)
    uniform = lambda *shape: torch.rand(*shape, generator=generator, device=device)

    def draw(law, *shape): return torch.searchsorted(law, uniform(*shape) * law[-1]).clamp_(max=len(law) - 1)
    def power_law(n, power): return (torch.arange(n, device=device) + 2.7).pow(-power).cumsum(0)
    share = 1 / (torch.arange(n_active, device=device) + 1.5)
    share /= share.sum()
    which, common, rank, member = share.cumsum(0), power_law(V, 1), power_law(support, 1), power_law(width, 0.7)
    rare, own = 0.7 * (torch.arange(V, device=device) + 2.7).log(), []
    for start in range(0, F, 256):                                                                  # a common word belongs to more features
        gumbel = -(-uniform(min(256, F - start), V).clamp_(1e-7, 1 - 1e-7).log()).log()
        words = (rare - gumbel).topk(support, dim=1, largest=False).indices
        own.append(words.gather(1, uniform(*words.shape).argsort(1)))
    own, thetas, bows = torch.cat(own), [], []
    for start in range(0, n_docs, chunk):
        n = min(chunk, n_docs - start)
        features = uniform(n, n_active).argsort(1) * width + draw(member, n, n_active)              # which of them is the largest is chance
        words = own[features.gather(1, draw(which, n, n_tokens)), draw(rank, n, n_tokens)]
        words = torch.where(uniform(n, n_tokens) < 0.2, draw(common, n, n_tokens), words)
        cells, counts = torch.unique((torch.arange(n, device=device)[:, None] * V + words).flatten(), return_counts=True)
        ends = torch.searchsorted(cells, torch.arange(1, n + 1, device=device) * V)
        features, order = features.sort(1)
        thetas.append((share[order].float().cpu().numpy().ravel(), features.int().cpu().numpy().ravel()))
        bows.append((counts.int().cpu().numpy(), (cells % V).int().cpu().numpy(), ends.cpu().numpy()))
    data, columns = (np.concatenate(part) for part in zip(*thetas))
    theta = sparse.csr_matrix((data, columns, np.arange(0, n_docs * n_active + 1, n_active, dtype=np.int32)), shape=(n_docs, F))
    counts, words, ends = (np.concatenate(part) for part in zip(*bows))
    offsets = np.repeat(np.concatenate([[0], np.cumsum([part[2][-1] for part in bows])[:-1]]), [len(part[2]) for part in bows])
    return theta, sparse.csr_matrix((counts, words, np.concatenate([[0], ends + offsets]).astype(np.int32)), shape=(n_docs, V))


class OnDevice:
    "Documents on the device, from which batches are made dense there."

    def __init__(self, theta, bow, device):
        self.n_docs, self.n_latents, self.n_words, self.device = theta.shape[0], theta.shape[1], bow.shape[1], device
        put = lambda a, kind: torch.from_numpy(np.ascontiguousarray(a)).to(device=device, dtype=kind)
        self.theta = put(theta.data, torch.float32), put(theta.indices, torch.int32), put(theta.indptr, torch.int64)
        self.bow = put(bow.data, torch.float32), put(bow.indices, torch.int32), put(bow.indptr, torch.int64)

    def entries(self, matrix, rows):
        "Return document, column and value of the entries of some rows."
        data, columns, starts = matrix
        count = starts[rows + 1] - starts[rows]
        total = int(count.sum())
        place = torch.repeat_interleave(torch.arange(len(rows), device=self.device), count, output_size=total)
        at = torch.arange(total, device=self.device) - (count.cumsum(0) - count)[place] + starts[rows][place]
        return place, columns[at].long(), data[at]

    def dense(self, matrix, rows, width):
        place, column, value = self.entries(matrix, rows)
        return torch.zeros(len(rows), width, device=self.device).index_put_((place, column), value)


@torch.no_grad()
def held_out_perplexity(documents, rows, emission, background, pi):
    "Perplexity of the words of some documents; emission and background are dense and on the device."
    total = words = 0.0
    for some in rows.split(2048):
        share = documents.dense(documents.theta, some, documents.n_latents)
        prob = (1 - (1 - pi) * share.sum(1, keepdim=True)) * background + (1 - pi) * share @ emission
        place, column, count = documents.entries(documents.bow, some)
        total, words = total + float((count * prob[place, column].clamp_min(1e-30).log()).double().sum()), words + float(count.sum())
    return float(np.exp(-total / words))


def adamw(documents, rows, held_out, weights, background, pi, batch, seconds, goal, epochs, seed=0, lr=1e-2):
    "Softmax logits by AdamW, the paper's recipe: batches made dense on the device, products with TF32, fused AdamW. Held-out perplexity every quarter of a pass."
    device, before = documents.device, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    generator = torch.Generator(device).manual_seed(seed)
    logits = (0.01 * torch.randn(documents.n_latents, documents.n_words, generator=generator, device=device)).requires_grad_()
    base = background.log().clone().requires_grad_()
    optimizer = torch.optim.AdamW([logits, base], lr=lr, fused=True)
    history, spent, done, per_pass = [], 0.0, 0, -(-len(rows) // batch)
    while spent < seconds and done < epochs * per_pass:
        wait(device)
        start = time.perf_counter()
        for _ in range(max(1, per_pass // 4)):
            if done % per_pass == 0: order = rows[torch.randperm(len(rows), generator=generator, device=device)]
            some = order[done % per_pass * batch:][:batch]
            share = documents.dense(documents.theta, some, documents.n_latents)
            counts = documents.dense(documents.bow, some, documents.n_words) * weights
            prob = (1 - (1 - pi) * share.sum(1, keepdim=True)) * base.softmax(0) + (1 - pi) * share @ logits.softmax(1)
            loss = -(counts * prob.clamp_min(1e-30).log()).sum() / len(some)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
        wait(device)
        spent += time.perf_counter() - start
        with torch.no_grad(): score = held_out_perplexity(documents, held_out, logits.softmax(1), base.softmax(0), pi)
        history.append(dict(passes=done / per_pass, seconds=round(spent, 3), perplexity=round(score, 3)))
        print(f"  AdamW: {history[-1]}{'' if score > goal else ', as good as EM'}", flush=True)
    torch.set_float32_matmul_precision(before)
    return history


def row_emission(sizes, device, options):
    "Words of features: EM beside AdamW on dense logits, from the same documents."
    from saetm.emission import idf_weights
    from saetm.word_fitting import fit_emission
    start = time.perf_counter()
    theta, bow = make_documents(sizes, device)
    made = time.perf_counter() - start
    print(f"  {theta.shape[0]} documents, {theta.nnz} active features, {bow.nnz} counts, made in {made:.1f} s", flush=True)
    n_out, pi = min(10_000, theta.shape[0] // 10), 0.1
    fit_rows, out_rows = np.arange(theta.shape[0] - n_out), np.arange(theta.shape[0] - n_out, theta.shape[0])
    theta_fit, bow_fit = theta[:len(fit_rows)], bow[:len(fit_rows)]
    found = dict(documents=theta.shape[0], counts=bow.nnz, seconds_to_make_data=round(made, 2))
    on_device = dict(device=str(device)) if "device" in inspect.signature(fit_emission).parameters else {}
    if not on_device: found["note"] = "fit_emission has no device argument here: EM ran on the processor"
    warm = sizes["n_docs"] // 50
    fit_emission(theta_fit[:warm], bow_fit[:warm], pi=pi, **on_device)                              # kernels compiled, libraries set up
    wait(device)
    start, marks = time.perf_counter(), []
    fitted = fit_emission(theta_fit, bow_fit, pi=pi, on_step=lambda n, values: marks.append(round(time.perf_counter() - start, 3)), **on_device)
    wait(device)
    seconds = time.perf_counter() - start
    documents = OnDevice(theta, bow, device)
    out, background = torch.from_numpy(out_rows).to(device), torch.from_numpy(np.asarray(fitted.background, np.float32)).to(device)
    emission = torch.from_numpy(fitted.emission.toarray().astype(np.float32)).to(device)
    empty = emission.sum(1, keepdim=True) == 0                                                      # a feature without words says the background
    score = held_out_perplexity(documents, out, torch.where(empty, background, emission), background, pi)
    found |= dict(seconds=round(seconds, 3), passes=fitted.n_passes, seconds_at_each_pass=marks, perplexity=round(score, 3))
    print(f"  EM: {found}", flush=True)
    del emission
    weights = torch.from_numpy(idf_weights(bow_fit.getnnz(0), len(fit_rows))).to(device)
    cap = max(1.0, min(90.0, ROW_SECONDS - (time.perf_counter() - STARTED) - 10)) if device.type == "cuda" else 3.0
    history = adamw(documents, torch.from_numpy(fit_rows).to(device), out, weights, background, pi, sizes["batch"], cap, score, sizes["epochs"])
    reached = next((h["seconds"] for h in history if h["perplexity"] <= score), None)
    best = min(history, key=lambda h: h["perplexity"])
    a_pass = history[-1]["seconds"] / history[-1]["passes"]
    return found | dict(adamw_seconds=history[-1]["seconds"], adamw_best_perplexity=best["perplexity"], adamw_seconds_to_best=best["seconds"], adamw_seconds_to_em_perplexity=reached,
                        adamw_seconds_a_pass=round(a_pass, 3), adamw_seconds_for_50_passes=round(50 * a_pass, 1), equal_or_better=bool(score <= best["perplexity"]), history=history,
                        ratio=round((reached or history[-1]["seconds"]) / seconds, 2), ratio_is_a_lower_bound=reached is None, ratio_50_passes=round(50 * a_pass / seconds, 1))


# ---------------------------------------------------------------- one process a row, and what is written

STARTED = time.perf_counter()


ROW_SECONDS = 600.0   # the time this row has, set when its process starts


def run_row(arguments):
    "Run one row in this process, and print what it found as the last line."
    global ROW_SECONDS
    ROW_SECONDS = arguments.seconds
    torch.set_float32_matmul_precision("highest")                                                   # no TF32, but where a row says so
    device = torch.device(arguments.device)
    if device.type == "cuda": torch.cuda.set_device(device.index or 0); device = torch.device("cuda", torch.cuda.current_device())
    if device.type == "cpu": torch.set_num_threads(1)
    sizes = (SMALL if arguments.small else FULL)[arguments.row]
    found = globals()[f"row_{arguments.row}"](sizes, device, json.loads(arguments.options))
    print(json.dumps(dict(found, machine=machine(device))), flush=True)


def child(row, arguments, options, seconds):
    "Run one row in a process of its own; return what it found, or what went wrong."
    command = [sys.executable, str(Path(__file__).resolve()), "--row", row, "--device", arguments.device, "--options", json.dumps(options), "--seconds", str(seconds)] + ["--small"] * arguments.small
    print(f"== {row}, at most {seconds:.0f} s, {options or 'as it is'}", flush=True)
    start, lines = time.perf_counter(), []
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                if not line.startswith("{"): print(lines[-1], flush=True)
            process.wait()
        finally:
            timer.cancel()
            if process.poll() is None: process.kill()
        said.seek(0)
        errors = said.read().strip().splitlines()
    took = round(time.perf_counter() - start, 1)
    if process.returncode == 0 and lines and lines[-1].startswith("{"): return dict(json.loads(lines[-1]), status="done", took=took, options=options)
    reason = f"stopped after {seconds:.0f} s" if process.returncode == -9 and took >= seconds - 1 else errors[-1] if errors else f"exit code {process.returncode}"
    print("\n".join(errors[-25:]), flush=True)
    return dict(status="failed", reason=reason, took=took, options=options, said=lines[-12:], errors=errors[-12:])


def table(rows, columns):
    "Return a table in Markdown."
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows])


def page(results):
    "Return the text of results/gpu.md."
    rows, about = results["rows"], results["machine"]
    text = ["# Speed on a GPU", "", "Written by `python bench/gpu.py`, which says how each row is measured. " + ("**Tiny sizes: a check of the script, no measurement.**" if results["small"] else ""), "",
            "Machine: " + ", ".join(f"{name} {value}" for name, value in about.items() if value is not None) + ".", ""]
    summary = []
    for row in ROWS:
        found = rows.get(row, dict(status="open"))
        done = found["status"] == "done"
        what = dict(paper=lambda: f"{found['seconds']} s and {found['seconds_to_prepare']} s to prepare; {found['ratio_to_paper']} times the paper's; {found['ratio']} times a plain step",
                    wide=lambda: f"{found['ratio']} times a plain step; {found['minutes_in_all']} minutes for all", agree=lambda: f"largest relative error in float32 {found['agree']:.1e}",
                    emission=lambda: f"{found['seconds']} s; {'at least ' if found['ratio_is_a_lower_bound'] else ''}{found['ratio']} times AdamW; perplexity {found['perplexity']} and {found['adamw_best_perplexity']}",
                    ceilings=lambda: f"{found['copy_tb_per_second']} TB/s, {found['bf16_tflops']} TFLOP/s", quality=lambda: "see below",
                    reading=lambda: ", ".join(f"{name.replace('_gb_per_second', '').replace('_', ' ')} {value} GB/s" for name, value in found.items() if name.endswith("_gb_per_second")))
        summary.append(dict(row=row, state=found["status"], target=TARGETS.get(row, ""), found=what[row]() if done else found.get("reason", "")))
    text += [table(summary, ["row", "state", "target", "found"]), ""]
    for row, found in rows.items():
        text += [f"## {row}", ""]
        if found["status"] == "done" and row == "quality": text += ["Means over three seeds, plain and fast, and the spread of the plain ones:", "", table(found["spread"], ["activation", "n_latents", "explained_variance", "l0", "dead_share"]), "", table(found["table"], ["activation", "n_latents", "steps", "seed", "step", "explained_variance", "l0", "dead_share"]), ""]
        elif found["status"] == "done" and row == "agree": text += [table([dict(case=case, **values) for case, values in found["cases"].items()], ["case", "selection", "gradient", "loss", "bound"]), ""]
        else: text += ["```json", json.dumps({name: value for name, value in found.items() if name not in ("machine", "curve", "history")}, indent=1), "```", ""]
        if "history" in found: text += [table(found["history"], ["passes", "seconds", "perplexity"]), ""]
        if "curve" in found: text += [table([{name: round(value, 4) for name, value in point.items()} for point in found["curve"]], ["step", "loss", "explained_variance", "l0", "dead_share"]), ""]
    return "\n".join(text)


def write(results, folder):
    "Write what there is, whole or not at all."
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("gpu.json", json.dumps(results, indent=1)), ("gpu.md", page(results))):
        (folder / f"{name}.tmp").write_text(text + "\n", encoding="utf-8")
        os.replace(folder / f"{name}.tmp", folder / name)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", nargs="+", default=["all"], choices=[*ROWS, "all"])
    arguments.add_argument("--seconds", type=float, default=540, help="for everything (default 540); rows that no longer fit are left open")
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--small", action="store_true", help="tiny sizes, to check the script")
    arguments.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md (default: results; a temporary one with --small)")
    arguments.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    arguments.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.row: return run_row(arguments)
    if arguments.device.startswith("cuda") and not torch.cuda.is_available(): sys.exit("no GPU here; `--device cpu --small` checks the script")
    folder = arguments.out or (Path(tempfile.mkdtemp(prefix="saetm-gpu-")) if arguments.small else ROOT / "results")
    wanted = [row for row in ROWS if "all" in arguments.rows or row in arguments.rows]
    results, options, start = dict(bench="gpu", small=arguments.small, machine=machine(torch.device("cpu")), rows={}), {}, time.perf_counter()
    if "agree" not in wanted and not arguments.small: wanted.insert(0, "agree")                     # before anything is timed
    for row in wanted:
        left = arguments.seconds - (time.perf_counter() - start)
        if left < 15:
            results["rows"][row] = dict(status="open", reason="no time was left", took=0, options=options)
            continue
        results["rows"][row] = child(row, arguments, options, min(SECONDS[row], left))
        if row == "agree" and results["rows"][row]["status"] != "done" and arguments.device.startswith("cuda"):
            results["first_tries"] = [results["rows"][row]]
            slow = results["rows"][row]["reason"].startswith("stopped after")                       # compiled kernels are kept: once more
            for options in [{}] * slow + [dict(fused=False), dict(graph=False), dict(fused=False, graph=False)]:  # whatever works is used from here on
                results["rows"][row] = child(row, arguments, options, min(SECONDS[row], arguments.seconds - (time.perf_counter() - start)))
                if results["rows"][row]["status"] == "done": break
                results["first_tries"].append(results["rows"][row])
        results["machine"] = results["rows"][row].get("machine", results["machine"])
        write(results, folder)
    write(results, folder)
    print((folder / "gpu.md").read_text(encoding="utf-8"))
    print(f"written to {folder}")
    rows = results["rows"]
    failed = [row for row, found in rows.items() if found["status"] == "failed"]
    print(json.dumps(dict(bench="gpu", ratio=rows.get("wide", {}).get("ratio"), ratios=rows.get("wide", {}).get("ratios"), agree=rows.get("agree", {}).get("agree"), failed=failed,
                          seconds={row: found.get("seconds") for row, found in rows.items() if "seconds" in found}, machine=results["machine"])))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

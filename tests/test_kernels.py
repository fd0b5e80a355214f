"The Triton kernels do what their torch counterparts do: on a GPU if there is one, else in Triton's interpreter."
import importlib.util
import os
import subprocess
import sys

import pytest

CHECK = """
import itertools, torch
from saetm.fast.kernels import *

device = "cuda" if torch.cuda.is_available() else "cpu"
generator = torch.Generator().manual_seed(0)
draw = lambda *shape: torch.randn(*shape, generator=generator).to(device)
close = lambda a, b, eps: torch.testing.assert_close(a.float(), b.float(), rtol=eps, atol=eps)

for (n, F, k), dtype in itertools.product([(5, 96, 4), (3, 6144, 6), (4, 100, 100), (2, 700, 1)], [torch.float32, torch.bfloat16]):
    pre = draw(n, F).to(dtype)
    pre[0] = -pre[0].abs()                                           # nothing positive
    if F > 100: pre[1] = (pre[1] * 2).round() / 2                    # many ties
    (values, columns), (wanted, _) = largest(pre, k, fused=True), largest(pre, k)
    assert torch.equal(values.sort(1).values, wanted.sort(1).values) and torch.equal(pre.gather(1, columns), values)
    assert all(len(set(row)) == k for row in columns.tolist())
    acts = dense_acts(pre, k, dtype=dtype, fused=True)
    assert torch.equal(acts.sum(1, dtype=torch.float64), values.relu().sum(1, dtype=torch.float64)) and ((acts > 0).sum(1) <= k).all()
    assert ((acts == 0) | (acts == pre)).all()
print("select")

for whole_batch, d, dtype in itertools.product([False, True], [16, 24], [torch.float32, torch.bfloat16]):
    pre, atoms, centred = draw(7, 64), draw(64, d).to(dtype), draw(7, d)
    pre[3] = -pre[3].abs()
    entries = find_entries(pre, 5, whole_batch)
    for a, b in zip(find_entries(pre, 5, whole_batch, fused=True)[1:], entries[1:]): assert torch.equal(a[:len(b)].sort().values, b.sort().values)
    plain, fused = decode_entries(entries, atoms, centred), decode_entries(entries, atoms, centred, fused=True)
    for a, b in zip(fused, plain): close(a, b, 2e-2 if dtype == torch.bfloat16 else 1e-5)
    listed = by_feature(entries, 64)
    arguments = (entries, listed, plain[2], plain[1], centred.to(dtype))
    for a, b in zip(sum_by_feature(*arguments, fused=True), sum_by_feature(*arguments)): close(a, b, 1e-5)
print("decode and sum")

for unit, shape in [(False, (9, 16)), (True, (9, 24)), (False, (1500,))]:
    sides = []
    for fused in (False, True):
        generator.manual_seed(1)
        weights = draw(*shape)
        if unit: weights /= weights.norm(dim=1, keepdim=True)
        half, moments = weights.bfloat16(), Moments(torch.zeros_like(weights), torch.zeros_like(weights))
        for i in range(4): adam_rows(weights, draw(*shape), moments, torch.tensor(adam_rates(i + 1, 0.1), device=device), half, unit, fused=fused)
        close(half, weights, 1e-2)
        sides.append((weights, *moments))
    for a, b in zip(*sides): close(a, b, 1e-5)
print("adam")

found, index = draw(50, 24).bfloat16(), torch.tensor([3, 49, 0], device=device)
for dtype in (torch.float32, torch.bfloat16):
    arguments = (found, index, draw(24), draw(()), draw(24), dtype)
    for a, b in zip(centred_rows(*arguments, fused=True), centred_rows(*arguments)): close(a, b, 1e-2 if a.dtype == torch.bfloat16 else 1e-5)
    arguments = (draw(5, 24), draw(5, 24), dtype)
    for a, b in zip(residual_of(arguments[0].clone(), *arguments[1:], fused=True), residual_of(*arguments)): close(a, b, 1e-2 if a.dtype == torch.bfloat16 else 1e-5)
print("rows")

from saetm.fast.gpu import GPUStep
from saetm.sae import SAE, set_scaling_
emb = draw(64, 16)
for activation, sparse, emb_there in [("topk", False, True), ("topk", True, False), ("batch_topk", True, True), ("relu", False, False)]:
    states = []
    for fused in (False, True):
        torch.manual_seed(0)
        sae = set_scaling_(SAE(16, 40, activation, 2).to(device), emb)
        step = GPUStep(sae, dead_after=20, emb=emb if emb_there else None, bf16=False, sparse=sparse, fused=fused, check_every=1)
        for i in range(3): values = step(torch.arange(8 * i, 8 * i + 8, device=device) if emb_there else emb[8 * i:8 * i + 8])
        states.append([*step.state_dict().values(), *values.values()])
    for a, b in zip(*states): close(a, b, 1e-3)
print("step")

import numpy as np
from scipy import sparse
import saetm.emission as em
from saetm.fast.words import WordsOnDevice
rng = np.random.default_rng(0)
bow = sparse.csr_matrix(rng.poisson(0.4, (30, 20)).astype(np.float32))
theta = em.theta_from_acts(sparse.csr_matrix(rng.random((30, 9)) * (rng.random((30, 9)) < 0.5)))
background, weights, held = em.fit_background(bow), rng.random(20).astype(np.float32), np.arange(30) % 3 > 0
for block_bytes in (2**32, 9 * 4 * 8):
    sides = []
    for fused in (False, True):
        on = WordsOnDevice(theta, bow, background, weights, 0.1, 0.5, device, held, ~held, block_bytes=block_bytes)
        on.fused = fused
        first = on.em_pass(None, in_place=False)
        second = on.em_pass(first[0].clone(), everyone=False, in_place=False)
        sides.append([torch.as_tensor(value) for value in (*first, *second, on.perplexity(second[0]))])
    for a, b in zip(*sides): close(a, b, 1e-4)
print("words")
"""


@pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="Triton is not installed")
def test_kernels_do_what_their_torch_counterparts_do():
    import torch
    env = os.environ if torch.cuda.is_available() else {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["select", "decode and sum", "adam", "rows", "step", "words"]

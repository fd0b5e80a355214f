"The fast training step: as many features as asked for in bfloat16, near the gradient of the plain formula, and the same SAE after a stop."
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import saetm.fast.sae_cpu as sae_cpu
import saetm.sae_fitting as sae_fitting
from saetm.fast.sae_cpu import SparseStep, compiled_kernels, sae_gradient
from saetm.sae import SAE, set_scaling_
from saetm.sae_fitting import fit_sae
from saetm.training import SAEStep, Shuffle, fit, sae_loss, start_at_documents_

needs_numba = pytest.mark.skipif(not find_spec("numba"), reason="numba is not installed")


def make_sae(activation, n_docs=700, d=40, F=230, k=7):
    rng = np.random.default_rng(0)
    emb = (rng.normal(size=(30, d))[rng.integers(30, size=n_docs)] + rng.normal(size=(n_docs, d))).astype(np.float32)
    return start_at_documents_(set_scaling_(SAE(d, F, activation, k), emb), emb), emb


def gradients(sae, compute):
    sae.zero_grad()
    values = compute()
    return {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}, values


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
@pytest.mark.parametrize("n_dead", [0, 5, 100])
def test_bfloat16_keeps_k_features_and_stays_near_the_plain_gradient(activation, n_dead):
    sae, emb = make_sae(activation)
    x, dead = sae.normalize(emb), torch.arange(sae.n_latents) < n_dead
    plain, _ = gradients(sae, lambda: sae_loss(sae, x, dead)[0].backward())
    for kernels in (None, compiled_kernels() if find_spec("numba") else None):
        fast, values = gradients(sae, lambda: sae_gradient(sae, x, dead, guess=0.3, bf16=True, kernels=kernels))
        assert float(values["l0"]) == sae.k
        for name in plain: assert (fast[name] - plain[name]).norm() < 0.05 * plain[name].norm() + 1e-6, name


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_float32_steps_give_the_plain_training(activation):
    trained = []
    for make_step, how in ((SAEStep, {}), (SparseStep, {}), *([(SparseStep, dict(numba=True))] if find_spec("numba") else [])):
        sae, emb = make_sae(activation)
        step = make_step(sae, **how)
        fit(step, Shuffle(emb, 256), 15, torch.optim.Adam(sae.parameters(), lr=1e-3, fused=True), after=step.after)
        trained.append(sae.requires_grad_(False))
    for sae in trained[1:]:
        for name, tensor in trained[0].state_dict().items(): torch.testing.assert_close(sae.state_dict()[name], tensor, rtol=1e-3, atol=2e-4)


@needs_numba
def test_compiled_training_goes_on_to_the_same_sae(tmp_path, monkeypatch):
    monkeypatch.setattr(sae_fitting, "_worth_compiling", lambda n_pre: True)
    _, emb = make_sae("topk")
    settings = dict(n_latents=230, k=7, steps=40, batch_size=256, every=1)

    def stop(step, values):
        if step == 25: raise KeyboardInterrupt

    whole = fit_sae(emb, **settings)
    with pytest.raises(KeyboardInterrupt): fit_sae(emb, **settings, checkpoint=tmp_path, checkpoint_every=10, on_step=stop)
    resumed = fit_sae(emb, **settings, checkpoint=tmp_path, checkpoint_every=10)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_short_trainings_do_not_load_numba(monkeypatch):
    monkeypatch.setattr(sae_cpu, "compiled_kernels", lambda: pytest.fail("compiled for a short training"))
    fit_sae(make_sae("topk")[1], n_latents=64, k=4, steps=3)

"Training on a GPU: the captured step does what the step itself does, and `fit_sae` goes on from a checkpoint."
import numpy as np
import pytest
import torch

from saetm.fast.gpu import GPUStep
from saetm.fast.kernels import find_entries, product, spread
from saetm.sae import SAE, set_scaling_
from saetm.sae_fitting import fit_sae
from saetm.training import sae_loss, start_at_documents_

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
EMB = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)


def make_sae(activation, n_latents, k=8):
    return start_at_documents_(set_scaling_(SAE(64, n_latents, activation, k), EMB), EMB)


def parameters_after(step, n_steps=5, size=256):
    for i in range(n_steps): step(torch.from_numpy(EMB[i % 11 * size:(i % 11 + 1) * size]))
    return {name: tensor.float().cpu() for name, tensor in step.state_dict().items()}


@pytest.mark.parametrize("activation,n_latents", [("topk", 256), ("topk", 2048), ("batch_topk", 256), ("batch_topk", 2048), ("relu", 256)])
def test_gradient_in_bfloat16_is_near_that_of_float32_for_the_entries_it_keeps(activation, n_latents):
    sae = make_sae(activation, n_latents)
    x, sparse = sae.normalize(torch.from_numpy(EMB[:256])), n_latents > 800
    with torch.no_grad():
        pre = product((x - sae.b_dec).bfloat16(), sae.W_enc.bfloat16(), sae.b_enc, half=sparse)
        kept = pre > 0 if activation == "relu" else spread(find_entries(pre, 8, activation == "batch_topk"), n_latents, torch.bfloat16) > 0
    acts = sae.pre_acts(x).relu() * kept
    ((acts @ sae.W_dec + sae.b_dec - x).square().sum(1).mean() + (0.1 * acts.sum(1).mean() if activation == "relu" else 0)).backward()
    wanted = [sae.W_enc.grad.t().clone(), sae.W_dec.grad.clone(), sae.b_enc.grad.clone(), sae.b_dec.grad.clone()]
    wanted[1] -= (wanted[1] * sae.W_dec.data).sum(1, keepdim=True) * sae.W_dec.data
    step = GPUStep(sae)
    parameters_after(step, 1)                            # Adam's averages then hold a tenth of the gradient
    for moments, gradient in zip(step.moments, wanted): assert float((10 * moments.mean - gradient).norm() / gradient.norm()) < 0.03


def test_revival_takes_turns_among_all_dead_features():
    sae = make_sae("topk", 512, 4)
    with torch.no_grad(): sae.b_enc[:200] -= 0.2          # 200 dead, 32 of them at a time
    step = GPUStep(sae, dead_after=1, bf16=False, check_every=1)
    step.begin(torch.from_numpy(EMB[:256]))
    step.idle[:200] = 10
    parameters_after(step, 16)
    touched = (step.moments[1].square[:200].sum(1) > 0)
    assert touched.float().mean() > 0.9


@needs_gpu
@pytest.mark.parametrize("activation,n_latents", [("topk", 256), ("topk", 2048), ("batch_topk", 256), ("batch_topk", 2048), ("relu", 256)])
def test_captured_step_is_the_step(activation, n_latents):
    states = []
    for settings in (dict(graph=False, fused=False), dict(graph=True, fused=False), dict(graph=True)):
        step = GPUStep(make_sae(activation, n_latents).to("cuda"), dead_after=600, bf16=False, check_every=2, **settings)
        states.append(parameters_after(step, 8))
    for other in states[1:]:
        for name, tensor in states[0].items(): torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-3)


@needs_gpu
def test_gradient_on_the_gpu_is_that_of_the_plain_loss():
    torch.set_float32_matmul_precision("highest")
    sae = make_sae("topk", 2048).to("cuda")
    loss, _ = sae_loss(sae, sae.normalize(torch.from_numpy(EMB[:256])))
    loss.backward()
    wanted = [sae.W_enc.grad.t().clone(), sae.W_dec.grad.clone(), sae.b_enc.grad.clone(), sae.b_dec.grad.clone()]
    wanted[1] -= (wanted[1] * sae.W_dec.data).sum(1, keepdim=True) * sae.W_dec.data
    step = GPUStep(sae, bf16=False)
    parameters_after(step, 1)
    for moments, gradient in zip(step.moments, wanted): assert float((10 * moments.mean - gradient).norm() / gradient.norm()) < 1e-4


@needs_gpu
def test_fit_sae_goes_on_from_a_checkpoint(tmp_path):
    settings = dict(n_latents=256, k=8, batch_size=256, device="cuda", checkpoint_every=20)
    whole = fit_sae(EMB, steps=60, **settings)
    class Stop(Exception): pass
    def stop(step, values):
        if step == 30: raise Stop
    with pytest.raises(Stop): fit_sae(EMB, steps=60, checkpoint=tmp_path, on_step=stop, every=10, **settings)
    resumed = fit_sae(EMB, steps=60, checkpoint=tmp_path, **settings)
    for name, tensor in whole.state_dict().items(): torch.testing.assert_close(resumed.state_dict()[name], tensor)


@pytest.mark.parametrize("activation,n_latents", [("topk", 96), ("topk", 4096), ("batch_topk", 96), ("batch_topk", 4096), ("relu", 96)])
@pytest.mark.parametrize("by_number", [False, True])
def test_nothing_in_the_step_looks_at_a_number(activation, n_latents, by_number, monkeypatch):
    # Tensors without numbers: whatever asks for one, or whose shape depends on one, or that sits on another device, is an error.
    step = GPUStep(SAE(32, n_latents, activation, 4).to("meta"), emb=torch.empty(100, 32, device="meta") if by_number else None)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__int__", lambda tensor: 0)              # `begin` asks once for the number of steps done
        step.begin(torch.zeros(8, dtype=torch.int64, device="meta") if by_number else torch.empty(8, 32, device="meta"))
    for revive in (False, True): step.move(revive)
    with pytest.raises((RuntimeError, NotImplementedError)): step.can_die()   # what the host does look at, between steps

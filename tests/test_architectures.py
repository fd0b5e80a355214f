"""An architecture from outside the package is one class in one table: it trains, is saved, is loaded, and takes the fast ways if its gradient is sparse."""
import numpy as np
import pytest
import torch

from saetm.sae import ACTIVATIONS, SAE, Activation, TopK, encode_sparse, load_sae, save_sae, set_scaling_, topk_acts
from saetm.sae_fitting import fit_sae

EMB = (np.random.default_rng(0).normal(size=(600, 8)) @ np.random.default_rng(1).normal(size=(8, 24))).astype(np.float32)


class SoftThreshold(Activation):
    "Positive entries, less a number that is learned for each feature, with a penalty of its own."
    def __call__(self, sae, pre): return (pre - sae.threshold).relu()
    def train(self, sae, pre, **coefficients): return self(sae, pre), 0.01 * self(sae, pre).sum(1).mean()
    def add_threshold_(self, sae): sae.threshold = torch.nn.Parameter(torch.full((sae.n_latents,), 0.05))
    def start_(self, sae, x): sae.threshold.fill_(0.1)
    def constrain_(self, sae): sae.threshold.clamp_(min=0.02)
    def advice(self, settings): return "train with less penalty"


class HalfTopK(TopK):
    "The k / 2 largest of a document, once it is trained with k."
    def __call__(self, sae, pre): return topk_acts(pre, sae.k // 2)
    def train(self, sae, pre, **coefficients): return topk_acts(pre, sae.k), 0.0


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "soft", SoftThreshold())
    monkeypatch.setitem(ACTIVATIONS, "half", HalfTopK())


@pytest.mark.filterwarnings("ignore:.*no active feature")
@pytest.mark.parametrize("architecture", ["soft", "half"])
def test_an_architecture_from_outside_trains_and_comes_back(added, tmp_path, architecture):
    losses = []
    sae = fit_sae(EMB, n_latents=48, k=6, architecture=architecture, steps=120, every=10, on_step=lambda step, values: losses.append(values["loss"]))
    assert losses[-1] < 0.7 * losses[0] and sae.architecture == architecture
    assert sae.report.explained_variance > 0.3
    again = load_sae(save_sae(tmp_path, sae))
    np.testing.assert_array_equal(encode_sparse(again, EMB).toarray(), encode_sparse(sae, EMB).toarray())
    if architecture == "soft": assert float(sae.threshold.min()) >= 0.02
    else: assert (np.diff(encode_sparse(sae, EMB).indptr) <= 3).all()


def test_files_that_call_the_architecture_activation_are_read(tmp_path):
    import json
    from safetensors.torch import save_file
    sae = set_scaling_(SAE(24, 48, "topk", 4), EMB)
    about = dict(activation="topk", d_embed=24, n_latents=48, k=4)
    save_file({name: tensor.contiguous() for name, tensor in sae.state_dict().items()}, tmp_path / "sae.safetensors", dict(sae=json.dumps(about)))
    assert load_sae(tmp_path).architecture == "topk"


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="architecture must be one of batch_topk, topk, relu, jumprelu, matryoshka, got 'soft'"): fit_sae(EMB, architecture="soft")

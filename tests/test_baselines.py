"""Every registered baseline keeps the contract: what bad input says, before any work, and what stays the same."""
from importlib import import_module

import numpy as np
import pytest
from scipy import sparse

import saetm.embedding_baselines  # noqa: F401  the last page of baselines imports the others
from saetm.baselines import BASELINES, fit_baseline
from saetm.benchmark import Corpus, benchmark_models, cell_stamp, check_asked, fit_rival, plan_cells
from saetm.corpus import BagOfWords
from saetm.ctm import sample_ctm
from saetm.model import NotFittedError
from saetm.vae_baselines import NeuralBaseline

planted = sample_ctm(120, atoms=(4, 16), n_words=60, pi=0, seed=0)
BOW, EMB = planted.bow, planted.emb
OUTSIDE = {"bertopic": "bertopic", "bertopic_kmeans": "bertopic", "gibbs": "tomotopy"}
NAMES = [name for name in BASELINES if name != "nmf"]
NEURAL = [name for name in NAMES if issubclass(BASELINES[name], NeuralBaseline)]
QUICK = {**dict.fromkeys(NEURAL, dict(epochs=0, min_steps=3)), "lda": dict(passes=2), "gibbs": dict(rounds=10)}


def fitted(name, **settings):
    if name in OUTSIDE: pytest.importorskip(OUTSIDE[name])
    return fit_baseline(name, BOW, EMB, n_topics=4, **{**QUICK.get(name, {}), **settings})


def test_the_papers_nine_and_the_outsiders_are_there():
    assert {"lda", "avitm", "combinedtm", "dectm", "dvae", "etm", "fastopic", "nstm", "tsctm", "nvdm", "gibbs", "kmeans", "bertopic", "bertopic_kmeans"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bow, emb, settings, error, says", [
    (BOW[:3], EMB[:3], {}, ValueError, "n_topics must be in 2..D=3"),
    (BOW, EMB, dict(n_topics=1), ValueError, "n_topics"),
    (BOW, EMB, dict(seed=-1), ValueError, "seed must be a whole number"),
    (BOW, EMB, dict(widht=3), TypeError, "has no setting 'widht'"),
    (BOW * 0, EMB, {}, ValueError, "no document has a word"),
    (BOW * -1, EMB, {}, ValueError, "word counts must be 0 or more"),
    (BOW * .5, EMB, {}, ValueError, "word counts must be whole numbers"),
    (sparse.csr_matrix(np.where(np.eye(120, 60), np.nan, 1)), EMB, {}, ValueError, "word counts must be finite"),
    (BOW[0].toarray()[0], EMB, {}, ValueError, "two dimensions"),
])
def test_bad_input_is_named_before_any_work(name, bow, emb, settings, error, says):
    with pytest.raises(error, match=says): fit_baseline(name, bow, emb, **{"n_topics": 4, **settings})


@pytest.mark.parametrize("name", [name for name in NAMES if BASELINES[name].needs_embeddings])
def test_embeddings_that_are_needed_must_be_given_and_fit(name):
    with pytest.raises(ValueError, match=f"{name} needs embeddings"): fit_baseline(name, BOW, n_topics=4)
    with pytest.raises(ValueError, match="119"): fit_baseline(name, BOW, EMB[1:], n_topics=4)
    with pytest.raises(ValueError, match="NaN|finite"): fit_baseline(name, BOW, np.where(np.eye(120, 16), np.nan, EMB), n_topics=4)


@pytest.mark.parametrize("name", NEURAL)
def test_a_loss_that_is_no_number_names_model_step_and_settings(name):
    with pytest.raises(FloatingPointError, match=rf"{name} with n_topics=4, seed=0, .*'lr': 1e\+30.* at step"): fitted(name, lr=1e30, min_steps=100)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("bertopic")])
def test_same_seed_same_topics_and_rows_that_sum_to_one(name):
    with pytest.raises(NotFittedError): BASELINES[name](4).transform(BOW, EMB)
    first, again = fitted(name), fitted(name)
    assert np.array_equal(first.components_, again.components_)
    assert np.array_equal(first.transform(BOW, EMB), again.transform(BOW, EMB)) or name == "gibbs"
    assert first.components_.shape == (4, 60) and np.allclose(first.components_.sum(1), 1, atol=1e-4)
    assert np.allclose(first.transform(BOW, EMB).sum(1), 1, atol=1e-3)
    with pytest.raises(ValueError, match="60 words"): first.transform(BOW[:, :50], EMB)


OUTSIDER = '''
import numpy as np
from saetm.baselines import POSITIVE, Baseline, baseline

@baseline("smoothed")
class Smoothed(Baseline):
    "Random topics, smoothed."
    defaults = dict(weight=1.0)
    ranges = dict(weight=POSITIVE)
    def _fit(self, counts, emb, on_step):
        draws = np.random.default_rng(self.seed).random((self.n_topics, self.n_words_)) + self.settings_["weight"]
        self.components_ = draws / draws.sum(1, keepdims=True)
    def _transform(self, counts, emb): return np.full((counts.shape[0], self.n_topics), 1 / self.n_topics)
'''


def test_a_rival_from_outside_the_package_touches_one_place(tmp_path, monkeypatch):
    (tmp_path / "outside_rival.py").write_text(OUTSIDER)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("outside_rival")
    try:
        assert benchmark_models()[-1] == "smoothed"
        with pytest.raises(ValueError, match="weight must be a number, above 0, got 0"):
            fit_baseline("smoothed", BOW, n_topics=4, weight=0)
        with pytest.raises(TypeError, match="smoothed has no setting 'wieght'; it has weight"):
            check_asked({"smoothed": dict(wieght=2)}, "none", 3)
        cell, = plan_cells(["planted"], ["smoothed"], [4], [0])
        about = dict(checksum="", encoder="", settings={})
        corpus = Corpus("planted", BagOfWords(BOW, [f"word{i}" for i in range(60)], None, 0, {}), EMB, None, None, about)
        assert cell_stamp(cell, about, {"smoothed": dict(weight=2.0)})["settings"] == dict(weight=2.0)
        fitted = fit_rival(cell, corpus, {"smoothed": dict(weight=2.0)})
        assert [len(words) for words in fitted.words] == [50] * 4 and fitted.shares.shape == (120, 4)
    finally: del BASELINES["smoothed"]

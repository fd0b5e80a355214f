"""SAETM is a scikit-learn estimator: clone, pipelines, grid search and checks of being fitted."""
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFitted
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from saetm import SAETM
from saetm.embedding import open_embeddings
from saetm.model import save_embeddings
from test_bad_input import DOCS, EMB, CountingEncoder, SMALL

pytestmark = pytest.mark.filterwarnings("ignore")


def small(**settings): return SAETM(**{**SMALL, "n_topics": 3, "encoder": CountingEncoder(), **settings})


def test_a_clone_has_the_settings_and_nothing_that_was_learned():
    model = small(kappa=3.0).fit(DOCS)
    copy = clone(model)
    assert copy.get_params().keys() == model.get_params().keys() and copy.kappa == 3.0 and copy.n_latents == 64
    with pytest.raises(SklearnNotFitted): check_is_fitted(copy)
    check_is_fitted(model)


@pytest.mark.parametrize("labels", [list("ab") * 60, np.arange(120) % 2, np.eye(2, dtype=int)[np.arange(120) % 2],
                                    np.eye(9, dtype=bool)[np.arange(120) % 9], np.linspace(0, 1, 120), list(range(120))])
def test_a_pipeline_may_pass_labels_which_are_not_used(labels):
    pipeline = Pipeline([("lower", FunctionTransformer(lambda docs: [doc.lower() for doc in docs])), ("topics", small())])
    topics, shares = pipeline.fit_transform(DOCS, labels)
    assert shares.shape == (120, 3) and topics == small().fit_transform(DOCS)[0]
    assert pipeline.transform(DOCS[:5])[0] == topics[:5]


@pytest.mark.parametrize("kind", ["array", "list", "frame", "column", "tensor", "file", "folder", "shards"])
def test_the_second_argument_may_be_the_embeddings(tmp_path, kind):
    np.save(tmp_path / "emb.npy", EMB)
    save_embeddings(tmp_path / "shards", EMB, None, None, 50)
    given = dict(array=EMB, list=EMB.tolist(), frame=pd.DataFrame(EMB), column=pd.Series(list(EMB)),
                 tensor=torch.from_numpy(EMB), file=str(tmp_path / "emb.npy"), folder=tmp_path / "shards",
                 shards=open_embeddings(tmp_path / "shards"))[kind]
    topics, _ = small(encoder=None).fit_transform(DOCS, given)
    assert topics == small(encoder=None).fit(DOCS, embeddings=EMB).topics_.tolist()


def test_a_second_argument_that_may_be_either_is_refused():
    with pytest.raises(TypeError, match=r"shape \(120, 4\), which may be embeddings or labels.*give embeddings by name"):
        small().fit(DOCS, EMB[:, :4])
    with pytest.raises(TypeError, match="embeddings were given twice"): small().fit(DOCS, EMB, embeddings=EMB)


def test_a_grid_search_compares_how_well_words_are_predicted():
    search = GridSearchCV(small(), dict(n_topics=[2, 3]), cv=2).fit(DOCS, ["none"] * 120)
    assert search.best_params_["n_topics"] in (2, 3) and (search.cv_results_["mean_test_score"] < 0).all()


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="n_topic"): SAETM(n_topic=3)
    with pytest.raises(ValueError, match="n_topic"): small().set_params(n_topic=3)

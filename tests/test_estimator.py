"""SAETM is a scikit-learn estimator: clone, pipelines, grid search and checks of being fitted."""
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFitted
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from saetm import SAETM
from test_bad_input import DOCS, EMB, CountingEncoder, SMALL

pytestmark = pytest.mark.filterwarnings("ignore")


def small(**settings): return SAETM(**{**SMALL, "n_topics": 3, "encoder": CountingEncoder(), **settings})


def test_a_clone_has_the_settings_and_nothing_that_was_learned():
    model = small(kappa=3.0).fit(DOCS)
    copy = clone(model)
    assert copy.get_params().keys() == model.get_params().keys() and copy.kappa == 3.0 and copy.n_latents == 64
    with pytest.raises(SklearnNotFitted): check_is_fitted(copy)
    check_is_fitted(model)


@pytest.mark.parametrize("labels", [list("ab") * 60, np.arange(120) % 2, np.eye(2, dtype=int)[np.arange(120) % 2]])
def test_a_pipeline_may_pass_labels_which_are_not_used(labels):
    pipeline = Pipeline([("lower", FunctionTransformer(lambda docs: [doc.lower() for doc in docs])), ("topics", small())])
    topics, shares = pipeline.fit_transform(DOCS, labels)
    assert shares.shape == (120, 3) and topics == small().fit_transform(DOCS)[0]
    assert pipeline.transform(DOCS[:5])[0] == topics[:5]


def test_embeddings_in_the_place_of_labels_are_refused():
    for given in (EMB, EMB.tolist(), "emb.npy"):
        with pytest.raises(TypeError, match="give embeddings by name"): small().fit(DOCS, given)


def test_a_grid_search_compares_how_well_words_are_predicted():
    search = GridSearchCV(small(), dict(n_topics=[2, 3]), cv=2).fit(DOCS, ["none"] * 120)
    assert search.best_params_["n_topics"] in (2, 3) and (search.cv_results_["mean_test_score"] < 0).all()


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="n_topic"): SAETM(n_topic=3)
    with pytest.raises(ValueError, match="n_topic"): small().set_params(n_topic=3)

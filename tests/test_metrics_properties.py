"""What must hold for every set of topics, tried on generated ones, and agreement with outside implementations."""
import inspect
import os
import subprocess
import sys

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from saetm.corpus import count_words, tokenize
from saetm.data import load_corpus
from saetm.metrics import (agreement_difference, c_v, check_topics, class_words, cluster_agreement, coverage, label_topics, match_topics, npmi, pairwise_wmd,
                           shuffle_topics, stability, token_sequences, topic_overlap, unique_words, usable_words, window_npmi, wmd_diversity, word_relevance)

LIMITS = settings(max_examples=40, deadline=None, derandomize=True)
LETTERS = list("abcdefghij")
TOPIC = st.lists(st.sampled_from(LETTERS + ["unknown"]), max_size=6)
TOPICS = st.lists(TOPIC, min_size=1, max_size=8)
DOCUMENTS = st.lists(st.lists(st.sampled_from(LETTERS), max_size=15), min_size=1, max_size=12)
SPACE = {letter: np.random.default_rng(i).normal(size=4) for i, letter in enumerate(LETTERS)}


def bag(documents):
    "Counts of documents that are lists of letters."
    return count_words([" ".join(doc) for doc in documents] + [" ".join(LETTERS)], vocabulary=LETTERS, tokenizer=str.split)


def all_scores(topics, documents):
    "Scores that need no labels."
    tokens = token_sequences([" ".join(doc) for doc in documents] + [" ".join(LETTERS)], tokenizer=str.split)
    return [npmi(topics, bag(documents), n=3, n_boot=50), c_v(topics, tokens, n=3, window=4, n_boot=50), window_npmi(topics, tokens, n=3, window=4, n_boot=50),
            unique_words(topics, n=3, n_boot=50), wmd_diversity(topics, SPACE | {"other": np.zeros(4)}, n=3, n_boot=50)]


@LIMITS
@given(TOPICS, DOCUMENTS)
def test_every_topic_is_scored_or_has_a_reason(topics, documents):
    topics = topics + [["a", "b", "c"]]
    for score in all_scores(topics, documents):
        missing = set(np.flatnonzero(np.isnan(score.values)).tolist())
        assert missing == set(score.skipped) and all(score.skipped.values())
        assert score.n_scored + len(score.skipped) == len(topics)
        if score.n_scored: assert score.low - 1e-9 <= np.nanmean(score.values) <= score.high + 1e-9 or score.n_scored < 4
        assert score.as_row()["skipped"] == len(score.skipped)


@LIMITS
@given(TOPICS, DOCUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_topics_and_documents_does_not_matter(topics, documents, random):
    topics = topics + [["a", "b", "c"], ["d", "e", "f"]]
    order = list(range(len(topics)))
    random.shuffle(order)
    shuffled = documents[:]
    random.shuffle(shuffled)
    for before, after in zip(all_scores(topics, documents), all_scores([topics[i] for i in order], shuffled)):
        np.testing.assert_allclose(after.values, before.values[order], atol=1e-9)
        assert set(after.skipped) == {order.index(i) for i in before.skipped}


@LIMITS
@given(TOPICS, st.integers(1, 5), st.data())
def test_usable_words_are_the_first_known_ones_once(topics, n, data):
    least = data.draw(st.integers(1, n))
    found = usable_words(topics, n, set(LETTERS), min_words=least)
    for t, (topic, words) in enumerate(zip(topics, found.words)):
        expected = [w for i, w in enumerate(topic[:n]) if w in LETTERS and w not in topic[:i]]
        assert (words is None) == (len(expected) < least) == (t in found.skipped)
        assert words is None or words == expected and (t in found.partial) == (len(words) < n)


@LIMITS
@given(TOPICS, st.integers(0, 5))
def test_shuffling_keeps_words_and_sizes(topics, seed):
    topics = [list(dict.fromkeys(topic)) for topic in topics]
    dealt = shuffle_topics(topics, seed)
    assert [len(t) for t in dealt] == [len(set(t)) for t in dealt] == [len(t) for t in topics]
    assert sorted(sum(dealt, [])) == sorted(sum(topics, []))


@LIMITS
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60))
def test_agreement_equals_scikit_learn(pairs):
    topics, labels = map(np.array, zip(*pairs))
    scores = cluster_agreement(topics, labels, n_boot=2)
    assert scores["nmi"].value == pytest.approx(normalized_mutual_info_score(labels, topics), abs=1e-9)
    assert scores["ari"].value == pytest.approx(adjusted_rand_score(labels, topics), abs=1e-9)
    assert scores["purity"].value == pytest.approx(sum(np.bincount(labels[topics == t]).max() for t in set(topics)) / len(topics))


@LIMITS
@given(st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=7, unique=True), min_size=2, max_size=9), st.booleans(), st.integers(0, 3))
def test_wmd_of_any_sizes_equals_pot(topics, flat, seed):
    vectors = np.random.default_rng(seed).normal(size=(30, 1 if flat else 5))
    if flat: vectors = np.round(vectors)                        # ties and equal vectors
    found = pairwise_wmd(topics, vectors, max_entries=40)
    expected = [[ot.emd2([], [], cdist(vectors[a], vectors[b])) for b in topics] for a in topics]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_wmd_of_500_random_topics_equals_pot():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 64))
    topics = [rng.choice(3000, 20, replace=False) for _ in range(500)]
    found = pairwise_wmd(topics, vectors)
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()
    pairs = rng.integers(500, size=(3000, 2))
    expected = [ot.emd2([], [], cdist(vectors[topics[a]], vectors[topics[b]])) for a, b in pairs]
    np.testing.assert_allclose(found[pairs[:, 0], pairs[:, 1]], expected, atol=1e-9)


def test_coherence_of_real_topics_equals_gensim():
    pytest.importorskip("gensim")
    from gensim.corpora import Dictionary
    from gensim.models import CoherenceModel
    speeches = load_corpus("commons")
    docs = speeches.text.tolist()[:300]
    bow = count_words(docs)
    party = speeches.party.astype("category").cat.codes.to_numpy()[:300]
    topics = [[bow.vocabulary[w] for w in row[:10]] for row in np.argsort(-class_words(bow.counts, party, party.max() + 1), 1, kind="stable")]
    topics += shuffle_topics(topics)
    texts, tokens = [tokenize(doc) for doc in docs], token_sequences(docs)
    for kind, score in dict(c_v=c_v(topics, tokens), c_npmi=window_npmi(topics, tokens)).items():
        model = CoherenceModel(topics=topics, texts=texts, dictionary=Dictionary(texts), coherence=kind, topn=10, processes=1)
        np.testing.assert_allclose(score.values, model.get_coherence_per_topic(), atol=1e-6)
        assert score.n_scored == len(topics)


def test_bad_input_is_named():
    bow = bag([["a", "b"]])
    for call, error, words in [
        (lambda: npmi([], bow), ValueError, "no topics"),
        (lambda: token_sequences("a b c"), TypeError, "documents must be a list of strings, got a str"),
        (lambda: npmi(["a b c"], bow), TypeError, "topic 0 must be a list of words, got 'a b c'"),
        (lambda: npmi([["a", "b"]], bow, n=1), ValueError, "2 or more, got 1"),
        (lambda: npmi([["a", "b"]], bow, n=2, min_words=3), ValueError, "min_words must be in 1..n=2, got 3"),
        (lambda: wmd_diversity([["a", "b"], ["x", "y"]], {"q": np.zeros(3)}, n=2), ValueError, "none of the 4 words has a vector"),
        (lambda: wmd_diversity([["a"]], SPACE, n=0), ValueError, "n must be at least 1, got 0"),
        (lambda: cluster_agreement(np.zeros(3, int), ["x", "y"]), ValueError, "got 2 labels for 3 documents"),
        (lambda: cluster_agreement(np.zeros(2, int), ["x", float("nan")]), ValueError, r"first in rows \[1\]"),
        (lambda: stability([[["a"]], [[]]]), ValueError, r"cannot be matched: \[0\]"),
    ]:
        with pytest.raises(error, match=words): call()


@pytest.mark.parametrize("name, value, said", [
    ("n_boot", 0, "n_boot must be at least 1, got 0"), ("n_boot", -1, "n_boot must be at least 1, got -1"), ("n_boot", 2.5, "n_boot must be a whole number, got 2.5"),
    ("n_boot", "20", "n_boot must be a whole number, got '20'"), ("seed", -1, "seed must be a whole number in 0.*, got -1"), ("seed", 1.5, "seed must be .*, got 1.5"),
    ("n", 0, "n must be at least 1, got 0|n and min_words must be 2 or more, got 0"), ("n", -2, "n must be .*, got -2"), ("n", 2.5, "n must be a whole number, got 2.5"), ("n", "2", "n must be a whole number, got '2'"),
    ("window", 0, "window must be at least 1, got 0"), ("window", 2.5, "window must be a whole number, got 2.5"),
    ("min_words", "2", "min_words must be a whole number, got '2'"), ("min_words", 0, "min_words must be at least 1, got 0"),
    ("min_share", 80, "min_share must be in 0..1, got 80"), ("min_share", -.1, "min_share must be in 0..1, got -0.1"), ("min_share", float("nan"), "min_share must be in 0..1, got nan"),
])
def test_a_number_out_of_range_is_named_by_every_score_that_takes_it(name, value, said):
    docs, topics = ["a b c", "b c d", "c d a", "x y z"], [["a", "b", "c"], ["x", "y", "z"]]
    bow, own = count_words(docs, min_df=1, max_df=1.0, language=None, tokenizer=str.split), np.array([0, 0, 0, 1])
    arguments = {npmi: (topics, bow), c_v: (topics, token_sequences(docs, tokenizer=str.split)), window_npmi: (topics, token_sequences(docs, tokenizer=str.split)), unique_words: (topics,), wmd_diversity: (topics, SPACE),
                 cluster_agreement: (own, own), agreement_difference: (own, own, own), coverage: (np.eye(2),), word_relevance: (own, topics, bow), stability: ([topics, topics],),
                 topic_overlap: (topics, topics), match_topics: (topics, topics), shuffle_topics: (topics,), label_topics: (bow, own)}
    takes = [score for score in arguments if name in inspect.signature(score).parameters and not (name == "seed" and score is shuffle_topics)]
    assert takes
    for score in takes:
        with pytest.raises((ValueError, TypeError), match=said): score(*arguments[score], **{name: value})


def test_pairs_of_words_and_probabilities_are_topics_too():
    assert check_topics({0: [("a", .5), ("b", .1)], 1: ("c", "d")}) == [["a", "b"], ["c", "d"]]


def test_importing_metrics_brings_no_optional_package():
    code = "import sys, saetm.metrics; print([m for m in ('numba', 'gensim') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert out.stdout.strip() == "[]"

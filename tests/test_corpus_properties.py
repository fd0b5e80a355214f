"""What must hold for every collection of documents, tried on generated ones."""
import io
import json
import multiprocessing
import subprocess
import sys
import warnings
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saetm import corpus
from saetm.corpus import (atomic_path, count_shard, count_words, load_authors_bow, load_bow, load_documents, merge_shards,
                          save_authors_bow, save_bow, select_words, stop_words, tokenize)
from saetm.data import load_corpus
from saetm.streams import count_to_shards

LIMITS = settings(max_examples=40, deadline=None, derandomize=True)
# Words in several alphabets, stop words, words too short to count, digits and punctuation.
WORDS = ["cat", "cats", "dog", "ant", "bee", "the", "with", "ox", "42nd", "naïve", "ΩΜΈΓΑ", "straße", "москва", "don't", "A_b", "Élan"]
DOCUMENT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
ANY_TEXT = st.text(max_size=40)
DOCUMENTS = st.lists(st.one_of(DOCUMENT, ANY_TEXT), max_size=14).map(lambda docs: docs + ["cat dog", "dog bee"])
PRUNING = st.fixed_dictionaries(dict(min_df=st.one_of(st.integers(1, 2), st.sampled_from([0.0, 0.05, 0.1])), max_df=st.just(1.0),
                                     max_words=st.one_of(st.none(), st.integers(1, 8))))


def split_words(text):
    "A tokenizer that processes can import."
    return text.split()


def same(a, b):
    "Check that two bags of words agree in every field and every stored array."
    assert a.vocabulary == b.vocabulary and a.n_empty == b.n_empty and a.settings == b.settings
    assert a.counts.shape == b.counts.shape and a.counts.dtype == b.counts.dtype == np.int32
    for name in ["data", "indices", "indptr"]:
        np.testing.assert_array_equal(getattr(a.counts, name), getattr(b.counts, name))
    np.testing.assert_array_equal(a.doc_freq, b.doc_freq)


@LIMITS
@given(DOCUMENTS, PRUNING, st.lists(st.integers(0, 16), max_size=4))
def test_merged_shards_equal_one_count(docs, pruning, cuts):
    cuts = sorted({0, len(docs), *[cut for cut in cuts if cut < len(docs)]})
    shards = [count_shard(docs[a:b]) for a, b in zip(cuts, cuts[1:])]
    same(merge_shards(shards, **pruning), count_words(docs, **pruning))


@LIMITS
@given(DOCUMENTS, PRUNING, st.randoms(use_true_random=False))
def test_permuting_documents_permutes_rows(docs, pruning, random):
    order = list(range(len(docs)))
    random.shuffle(order)
    bow, permuted = count_words(docs, **pruning), count_words([docs[i] for i in order], **pruning)
    same(permuted, bow._replace(counts=bow.counts[order]))


@LIMITS
@given(DOCUMENTS, PRUNING)
def test_rows_hold_the_tokens_that_were_kept(docs, pruning):
    bow = count_words(docs, **pruning)
    kept = set(bow.vocabulary)
    assert bow.counts.shape == (len(docs), len(kept)) and bow.vocabulary == sorted(kept) and not kept & stop_words()
    assert (bow.counts.data > 0).all() and bow.counts.has_canonical_format
    for row, doc in zip(bow.counts.toarray(), docs):
        assert dict(zip(bow.vocabulary, row)) == {word: n for word, n in ({w: 0 for w in kept} | Counter(w for w in tokenize(doc) if w in kept)).items()}
    np.testing.assert_array_equal(bow.doc_freq, (bow.counts.toarray() > 0).sum(0))
    assert bow.n_empty == sum(not doc.strip() for doc in docs)


@LIMITS
@given(DOCUMENTS, PRUNING)
def test_pruning_counts_add_up(docs, pruning):
    found = count_words(docs, **pruning).settings["pruning"]
    assert found["seen"] == len({word for doc in docs for word in tokenize(doc)})
    assert found["seen"] == found["stop_words"] + found["min_df"] + found["max_df"] + found["max_words"] + found["kept"]


@LIMITS
@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_a_share_is_a_number_of_documents(doc_freq, low, high, max_words):
    doc_freq = np.array(doc_freq)
    by_number, by_share = select_words(doc_freq, 30, low, high, max_words), select_words(doc_freq, 30, low / 30, high / 30, max_words)
    np.testing.assert_array_equal(by_number[0], by_share[0])
    assert by_number[1] == by_share[1]
    assert all(low <= doc_freq[i] <= high for i in by_number[0]) and len(by_number[0]) <= max_words


@LIMITS
@given(DOCUMENTS, PRUNING)
def test_a_given_vocabulary_counts_the_same_words(docs, pruning):
    bow = count_words(docs, **pruning)
    again = count_words(docs, vocabulary=bow.vocabulary[::-1])
    assert again.vocabulary == bow.vocabulary[::-1]
    np.testing.assert_array_equal(again.counts.toarray()[:, ::-1], bow.counts.toarray())


@settings(LIMITS, max_examples=8)
@given(DOCUMENTS)
def test_files_bring_back_what_was_written(tmp_path_factory, docs):
    folder = tmp_path_factory.mktemp("bow")
    bow = count_words(docs, min_df=1, max_df=1.0)
    save_bow(folder / "bow", bow)
    same(load_bow(folder / "bow"), bow)
    for name in ["cache.pt", "cache"]:
        save_authors_bow(folder / name, bow)
        back = load_authors_bow(folder / name)
        same(back._replace(n_empty=bow.n_empty), bow._replace(settings=back.settings))


@settings(LIMITS, max_examples=20)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20), min_size=1).map(lambda docs: docs + ["end"]))
def test_files_bring_back_the_documents(tmp_path_factory, docs):
    import pandas as pd
    folder, table = tmp_path_factory.mktemp("docs"), pd.DataFrame({"id": range(len(docs)), "text": docs})
    table.to_csv(folder / "a.csv", index=False)
    table.to_csv(folder / "a.tsv", index=False, sep="\t")
    table.to_parquet(folder / "a.parquet")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": doc}, ensure_ascii=False) + "\n" for doc in docs), encoding="utf8")
    for name in ["a.csv", "a.tsv", "a.parquet", "a.jsonl"]:
        assert load_documents(folder / name) == docs, name


@pytest.mark.parametrize("method", [method for method in multiprocessing.get_all_start_methods() if method != "forkserver"])
def test_processes_count_like_one(monkeypatch, method):
    "However a process is started, the counts are the same."
    monkeypatch.setattr(corpus, "get_context", lambda chosen: multiprocessing.get_context(method))
    docs = [f"{WORDS[i % 7]} {WORDS[i % 5]} {WORDS[i % 11]}" for i in range(200)] + [""]
    same(count_words(docs, tokenizer=split_words, n_jobs=2), count_words(docs, tokenizer=split_words))


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_path(path) as temporary: temporary.write_text("old")
    code = "import os, sys; from saetm.corpus import atomic_path\nwith atomic_path(sys.argv[1]) as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode != 0
    assert path.read_text() == "old"


def test_the_extra_is_named(tmp_path):
    "Without the optional packages, their first use says what to install; the default needs none of them."
    code = ("import sys; sys.modules.update(simplemma=None, stopwordsiso=None)\nfrom saetm.corpus import count_words\n"
            "print(count_words(['red cat', 'red dog'], min_df=1, max_df=1.0).vocabulary)\n"
            "for kwargs in [dict(lemmas=True), dict(language='german')]:\n"
            "    try: count_words(['red cat'], min_df=1, **kwargs)\n    except ImportError as error: print(error)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "['cat', 'dog', 'red']"
    assert "simplemma" in out[1] and "pip install 'saetm[text]'" in out[1]
    assert "stopwordsiso" in out[2] and "pip install 'saetm[text]'" in out[2]


FRENCH = ["Le chat dort sur le canapé avec les enfants de la voisine",
          "Dans la ville, les rues sont vides et les magasins fermés",
          "Elle a toujours aimé cette maison, mais elle part sans nous",
          "Nous avons mangé des pommes qui venaient de nos parents"] * 90
ENGLISH = ["It was not what they had been told about her",
           "There are more of these than we would like to have, and you know why this is so"] * 400


def test_a_wrong_language_is_named_once_however_the_words_are_counted(tmp_path):
    to_shards = partial(count_to_shards, folder=tmp_path / "bow", part_docs=50)
    for count in [count_words, partial(count_words, n_jobs=2), to_shards]:
        with pytest.warns(UserWarning, match="look French, not English") as caught: count(FRENCH)
        assert len(caught) == 1
    with pytest.warns(UserWarning, match="look English, not Polish"): count_words(ENGLISH, language="pl", max_df=1.0)


def test_a_wrong_language_is_not_looked_for_without_the_lists():
    code = ("import json, sys, warnings; warnings.simplefilter('error'); sys.modules.update(stopwordsiso=None)\n"
            "from saetm.corpus import count_words; print(len(count_words(json.load(sys.stdin)).vocabulary))")
    run = [sys.executable, "-c", code]
    assert int(subprocess.run(run, input=json.dumps(FRENCH), capture_output=True, text=True, check=True).stdout) > 20


@pytest.mark.parametrize("name", ["wikipedia", "commons", "tweets", "openmoji"])
def test_the_corpora_of_the_package_are_in_their_language(name):
    table = load_corpus(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        count_words(table.caption if "caption" in table.columns else table.text)


def test_a_data_set_is_loaded_by_its_name_on_the_hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    def load_dataset(name, split):
        if name != "user/pets": raise FileNotFoundError(f"{name} does not exist")
        return datasets.Dataset.from_dict({"body": [f"{split} cat", "dog"]})
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_documents("hub:user/pets", text="body", split="test") == ["test cat", "dog"]
    with pytest.raises(ValueError, match="has no column 'text'; it has: body"): load_documents("hub:user/pets")
    with pytest.raises(OSError, match="'user/none' could not be loaded .* check the name and the network"): load_documents("hub:user/none")


JSON_VALUE = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.sampled_from(['a "b" \\\\', "[1, {", "\ud83d", "😀"])),
                          lambda value: st.one_of(st.lists(value, max_size=3), st.dictionaries(st.text(max_size=4), value, max_size=3)), max_leaves=6)


@settings(LIMITS, max_examples=400)
@given(st.lists(JSON_VALUE, max_size=4), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 70), st.integers(0, 200), st.sampled_from(["", *'",[]{}\\:1-e \n']), st.integers(0, 1))
def test_a_json_list_in_pieces_is_that_in_one(items, indent, plain, size, place, letter, removed):
    "Any list, cut anywhere, and with a letter changed: the same items, or the same complaint about the same place."
    whole = json.dumps(items, indent=indent, ensure_ascii=plain)
    broken = whole[:place] + letter + whole[place + removed:]
    for text in (whole, broken):
        if not text.lstrip(" \n").startswith("["): continue
        source = corpus._JsonText(io.StringIO(text, newline=""), "a.json", size)
        assert source.peek() == "["
        try: expected = json.loads(text)
        except json.JSONDecodeError as error:
            with pytest.raises(ValueError) as found: list(corpus._json_items(source))
            assert str(found.value) == f"a.json line {error.lineno}: not valid JSON ({error.msg}, column {error.colno})"
        else: assert list(corpus._json_items(source)) == expected

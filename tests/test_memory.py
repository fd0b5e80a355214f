"""Runs whose documents are read a few at a time: the same topics as in memory, after a kill as well."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import datasets
import numpy as np
import pandas as pd
import pytest

from saetm import SAETM, load_corpus
from saetm import cli
from saetm.corpus import Table
from saetm.memory import Sizes

pytestmark = pytest.mark.filterwarnings("ignore:.*of the documents have no active feature")
TINY = Sizes(batch_rows=64, chunk_nnz=700, chunk_rows=50, hold_mb=1024, part_docs=90, most_words=300)
SETTINGS = ["--n-latents", "128", "--k", "8", "--steps", "60"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "docs.jsonl"
    path.write_text("".join(json.dumps(dict(text=text)) + "\n" for text in load_corpus("commons").text), encoding="utf8")
    return path


def commands(source, run):
    yield ["bow", str(source), "--run", str(run), "--quiet"]
    yield ["embed", str(source), "--encoder", "wordllama", "--run", str(run), "--quiet"]
    yield ["train", *SETTINGS, "--run", str(run), "--quiet"]
    yield ["interpret", "--run", str(run), "--quiet"]
    yield ["merge", "--n-topics", "12", "--run", str(run), "--quiet"]


def leave_on_disk(cli, put=setattr):
    "Let the commands keep everything on disk, a few documents at a time."
    from saetm import sparse_files
    def small_shards(self, *args, **more):
        start(self, *args, **more)
        self.buffer_nnz = 500
    start = sparse_files.SparseWriter.__init__
    put(cli, "sizes_for", lambda memory=None: TINY)
    put(cli.Source, "read", lambda source, *_, **__: cli.stream_documents(source.documents, source.text, source.split))
    put(sparse_files.SparseWriter, "__init__", small_shards)


def on_disk(matrix): return not matrix.data.flags.writeable


def make_runs(source, folder, monkeypatch):
    for command in commands(source, folder / "memory"): assert cli.main(command) == 0
    leave_on_disk(cli, monkeypatch.setattr)
    for command in commands(source, folder / "disk"): assert cli.main(command) == 0
    return SAETM.load(folder / "memory"), SAETM.load(folder / "disk")


def test_a_run_on_disk_has_the_topics_of_one_in_memory(source, tmp_path, monkeypatch):
    inside, outside = make_runs(source, tmp_path, monkeypatch)
    assert all(on_disk(matrix) for matrix in (outside.theta_, outside.bow_.counts, inside.theta_)) and not on_disk(inside.bow_.counts)
    assert not list((tmp_path / "disk").rglob("*.partial*")) and not (tmp_path / "disk/bow/parts").exists()
    assert outside.vocabulary_ == inside.vocabulary_ and (outside.bow_.counts[:] != inside.bow_.counts).nnz == 0
    np.testing.assert_array_equal(outside.embeddings_[:], inside.embeddings_[:])
    np.testing.assert_allclose(outside.theta_[:].toarray(), inside.theta_.toarray(), atol=1e-5)
    np.testing.assert_allclose(outside.emission_.emission.toarray(), inside.emission_.emission.toarray(), atol=1e-5)
    np.testing.assert_array_equal(outside.result_.topic_of, inside.result_.topic_of)
    np.testing.assert_allclose(outside.components_, inside.components_, atol=1e-5)
    np.testing.assert_allclose(outside.document_topics_.toarray(), inside.document_topics_.toarray(), atol=1e-4)
    np.testing.assert_array_equal(outside.topics_, inside.topics_)
    assert outside.get_topic_info().equals(inside.get_topic_info()) or outside.get_topics(5).keys() == inside.get_topics(5).keys()
    np.testing.assert_array_equal(outside.representative_rows(0), inside.representative_rows(0))
    np.testing.assert_allclose(outside.set_n_topics(5).components_, inside.set_n_topics(5).components_, atol=1e-5)
    outside.set_n_topics(12).save(tmp_path / "copy")                       # a copy of its own, on disk again
    copy = SAETM.load(tmp_path / "copy")
    assert (tmp_path / "copy" / "emission" / "theta" / "data.npy").exists()
    np.testing.assert_array_equal(copy.topics_, SAETM.load(tmp_path / "disk").topics_)
    assert cli.main(["evaluate", str(tmp_path / "disk"), "--judge", "none", "--trials", "1", "--quiet", "--n-topics", "12"]) == 0
    part = tmp_path / "disk/emission/theta/data.npy"
    part.write_bytes(part.read_bytes()[:-1] + b"?")                         # a changed byte is found out
    with pytest.raises(ValueError, match="data.npy is missing, damaged"): SAETM.load(tmp_path / "disk")


PATCHED = """
import sys, test_memory
from saetm import cli
test_memory.leave_on_disk(cli)
raise SystemExit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    "A run on disk that nobody stopped."
    with pytest.MonkeyPatch.context() as patch:
        leave_on_disk(cli, patch.setattr)
        run = tmp_path_factory.mktemp("whole")
        for command in commands(source, run): assert cli.main(command) == 0
    return run


@pytest.mark.parametrize("step, seen", [("bow", "parts/00003.json"), ("interpret", "theta/data.npy"), ("merge", "topics.npz")])
def test_a_killed_step_goes_on_or_starts_afresh(source, whole, tmp_path, monkeypatch, step, seen):
    leave_on_disk(cli, monkeypatch.setattr)
    run, part = tmp_path / "run", dict(bow="bow", interpret="emission", merge="topics/12")[step]
    shutil.copytree(whole, run)                                            # all but the step that is to be killed
    (run / "stamp.json").unlink(); shutil.rmtree(run / part)
    command = next(command for command in commands(source, run) if command[0] == step)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    process, limit = subprocess.Popen([sys.executable, "-c", PATCHED, *command], env=environment, stderr=subprocess.PIPE), time.monotonic() + 300
    while not (run / part / seen).exists() and process.poll() is None and time.monotonic() < limit: time.sleep(.001)
    process.send_signal(signal.SIGKILL); process.wait()
    with pytest.raises((ValueError, FileNotFoundError)): SAETM.load(run)    # what is unfinished is not taken for whole
    for command in commands(source, run): assert cli.main(command) == 0
    assert not [path for path in run.rglob("*") if ".partial" in path.name or path.name in ("parts", "draft")]
    killed, expected = SAETM.load(run), SAETM.load(whole)
    assert (killed.bow_.counts[:] != expected.bow_.counts[:]).nnz == 0
    np.testing.assert_allclose(killed.theta_[:].toarray(), expected.theta_[:].toarray(), atol=1e-5)
    np.testing.assert_allclose(killed.components_, expected.components_, atol=1e-5)
    np.testing.assert_array_equal(killed.topics_, expected.topics_)


def test_an_amount_of_memory_that_is_none_is_refused(source, tmp_path, capsys):
    assert cli.main(["bow", str(source), "--run", str(tmp_path / "run"), "--memory", "plenty"]) == 1
    assert "memory must be an amount such as 2GB" in capsys.readouterr().err
    assert not (tmp_path / "run" / "bow").exists()


@pytest.mark.parametrize("kind", ["docs.json", "lines.json", "texts", "objects", "parts", "hub:user/speeches"])
def test_lists_in_json_folders_and_data_sets_of_the_hub_are_streamed(source, tmp_path, monkeypatch, kind):
    table = load_corpus("commons")[["text", "party"]]
    table.to_json(tmp_path / "docs.json", orient="records")
    table.to_json(tmp_path / "lines.json", orient="records", lines=True)
    for folder in ("texts", "objects", "parts"): (tmp_path / folder).mkdir()
    for i, row in table.iterrows():
        (tmp_path / "texts" / f"{i:04}.txt").write_text(row.text, encoding="utf8")
        (tmp_path / "objects" / f"{i:04}.json").write_text(json.dumps(dict(row), indent=1), encoding="utf8")
    for i in range(0, len(table), 300): table[i:i + 300].to_json(tmp_path / "parts" / f"{i:04}.jsonl.gz", orient="records", lines=True)
    for name in ("parts", "objects", "docs.json", "lines.json"):
        assert Table(tmp_path / name).column("party") == [None if party != party else party for party in table.party]
    assert Table(tmp_path / "texts").column("file")[1:3] == ["0001.txt", "0002.txt"]
    datasets.Dataset.from_pandas(table).save_to_disk(tmp_path / "speeches")
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: {"user/speeches": datasets.load_from_disk(tmp_path / "speeches")}[name])
    name, seen = kind if kind.startswith("hub:") else str(tmp_path / kind), []
    stream_documents = cli.stream_documents
    monkeypatch.setattr(cli, "stream_documents", lambda *args: seen.append(stream_documents(*args)) or seen[-1])
    def count_and_embed(documents, run):
        for command in list(commands(documents, run))[:2]: assert cli.main(command) == 0
        return cli.open_bow(run / "bow"), {path.name: path.read_bytes() for path in (run / "embeddings").iterdir()}
    inside, emb = count_and_embed(source, tmp_path / "inside")
    count_and_embed(name, tmp_path / "small")                               # there is memory enough
    assert not seen
    monkeypatch.setattr(cli, "parse_memory", lambda memory: 10**6)
    outside, same_emb = count_and_embed(name, tmp_path / "outside")
    assert [stream.name for stream in seen] == ["the data set" if kind.startswith("hub:") else name] * 2 and len(seen[0]) == len(table)
    assert outside.vocabulary == inside.vocabulary and (outside.counts[:] != inside.counts).nnz == 0 and emb == same_emb
    assert on_disk(outside.counts) and not on_disk(inside.counts)


def test_an_object_of_columns_is_read_whole_or_refused(source, tmp_path, monkeypatch, capsys):
    path = tmp_path / "columns.json"
    load_corpus("commons")[["text"]].to_json(path)
    assert cli.main(["bow", str(path), "--run", str(tmp_path / "run"), "--memory", "501MB"]) == 1
    assert "columns.json is a JSON object of columns, which is read whole and takes up to" in (said := capsys.readouterr().err) and "the cap is 501 MB: raise --memory, or write it as a list of objects" in said
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(cli, "parse_memory", lambda memory: 10**6)         # what is free refuses nothing
    assert cli.main(["bow", str(path), "--run", str(tmp_path / "run"), "--quiet"]) == 0
    assert cli.main(["bow", str(source), "--run", str(tmp_path / "same"), "--quiet"]) == 0
    assert cli.open_bow(tmp_path / "run" / "bow").vocabulary == cli.open_bow(tmp_path / "same" / "bow").vocabulary

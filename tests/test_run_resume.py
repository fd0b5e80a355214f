"""A run of the commands that is killed and started again ends in the same files; the commands give what the estimator gives."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saetm import SAETM, load_corpus
from saetm.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*of the documents have no active feature")
COMMAND = [sys.executable, "-c", "from saetm.cli import main; raise SystemExit(main())"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
N_DOCS, SETTINGS = 3000, dict(n_latents=128, k=8, steps=450, batch_size=256)


def options(settings):
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def docs():
    "Documents of ten tweets, so that embedding them takes long enough to be stopped in the middle."
    tweets = load_corpus("tweets").text.tolist()
    return [" ".join(tweets[i * 10:(i + 1) * 10]) for i in range(N_DOCS)]


@pytest.fixture(scope="module")
def source(docs, tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "docs.parquet"
    pd.DataFrame(dict(text=docs)).to_parquet(path)
    return path


def steps_of(source):
    "The commands of a whole run, by name."
    return {"bow": ["bow", source], "embed": ["embed", source, "--encoder", "wordllama"], "train": ["train", *options(SETTINGS)], "interpret": ["interpret"],
            "merge": ["merge", "--n-topics", "12"], "report": ["report", source]}


def call(arguments, run):
    assert main([*map(str, arguments), "--run", str(run), "--quiet"]) == 0


def start(arguments, run):
    "Start a command as a process of its own."
    return subprocess.Popen([*COMMAND, *map(str, arguments), "--run", str(run), "--quiet"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said


def read_all(folder):
    "Read every file of a folder but hidden ones."
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file() and not path.name.startswith(".")}


def assert_same_files(folder, expected):
    found = read_all(folder)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def kill_when(process, ready):
    "Kill a process as soon as `ready()` is true."
    limit = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, f"the command ended before it could be killed: {process.stdout.read()}"
        assert time.monotonic() < limit, "the command never got to where it is killed"
        time.sleep(.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    "The files of a run that nobody interrupts."
    run = tmp_path_factory.mktemp("whole") / "run"
    for arguments in steps_of(source).values(): call(arguments, run)
    return run, read_all(run)


def part(expected, name): return {path: content for path, content in expected.items() if path.startswith(f"{name}/")}


def test_the_commands_give_what_fit_gives(whole, docs):
    model = SAETM(n_topics=12, encoder="wordllama", seed=0, **SETTINGS).fit(docs)
    loaded = SAETM.load(whole[0])
    assert loaded.vocabulary_ == model.vocabulary_ and loaded.n_topics == 12 and loaded.checksum_ == model.checksum_
    np.testing.assert_array_equal(loaded.components_, model.components_)
    np.testing.assert_array_equal(loaded.document_topics_.toarray(), model.document_topics_.toarray())
    np.testing.assert_array_equal(loaded.topics_, model.topics_)
    np.testing.assert_array_equal(loaded.topic_sizes_, model.topic_sizes_)
    for name, tensor in model.sae_.state_dict().items(): np.testing.assert_array_equal(loaded.sae_.state_dict()[name].numpy(), tensor.numpy())
    np.testing.assert_array_equal(loaded.set_n_topics(5).components_, model.set_n_topics(5).components_)


def test_transform_after_load_is_identical(whole, docs, tmp_path):
    model = SAETM(n_topics=12, encoder="wordllama", seed=0, **{**SETTINGS, "steps": 30}).fit(docs[:500])
    loaded, again = SAETM.load(model.save(tmp_path / "model")), SAETM.load(whole[0])
    new = ["flu vaccine for children", "", *docs[500:560]]
    topics, shares = model.transform(new)
    assert loaded.transform(new)[0] == topics
    np.testing.assert_array_equal(loaded.transform(new)[1], shares)
    np.testing.assert_allclose(again.transform(docs[:200])[1], again.document_topics_[:200].toarray(), atol=1e-5)
    assert loaded.find_topics("flu vaccine") == model.find_topics("flu vaccine")
    assert loaded.get_topics() == model.get_topics()


def test_the_same_commands_again_do_nothing_anew(whole, source):
    run, expected = whole
    written = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.parent.name in ("bow", "embeddings", "sae", "emission")}
    for name in ("bow", "embed", "train", "interpret"): call(steps_of(source)[name], run)
    assert_same_files(run, expected)
    assert [path.name for path, before in written.items() if path.stat().st_mtime_ns != before] == []


def test_embedding_that_is_killed_goes_on_to_the_same_files(whole, source, tmp_path):
    run, expected = tmp_path / "run", whole[1]
    folder, arguments = run / "embeddings", steps_of(source)["embed"]
    kill_when(start(arguments, run), lambda: list(folder.glob("0*.npy")))
    shards = sorted(folder.glob("0*.npy"))
    assert 1 <= len(shards) < 3, "the command had embedded everything before it was killed"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is False
    kept = {path: path.stat().st_mtime_ns for path in shards}

    assert main(["train", "--run", str(run), "--quiet"]) == 1                  # half-written embeddings are not trained on
    assert not (run / "sae" / "sae.safetensors").exists()

    finish(start(arguments, run))
    assert_same_files(folder, {name.removeprefix("embeddings/"): content for name, content in part(expected, "embeddings").items()})
    assert [path.name for path, before in kept.items() if path.stat().st_mtime_ns != before] == [], "a finished shard was written again"
    assert not list(folder.glob(".*")), "leftovers of the killed process"


def test_training_that_is_killed_goes_on_to_the_same_files(whole, source, tmp_path):
    run, expected = tmp_path / "run", whole[1]
    steps = steps_of(source)
    for name in ("bow", "embed"): call(steps[name], run)
    checkpoint = run / "sae" / "checkpoints" / "step-00000200.safetensors"
    kill_when(start(steps["train"], run), (run / "sae" / "checkpoints" / "latest.json").exists)
    assert json.loads((run / "sae" / "checkpoints" / "latest.json").read_text())["step"] == 200
    assert not (run / "sae" / "sae.safetensors").exists() and not (run / "sae" / "stamp.json").exists()
    written = checkpoint.stat().st_mtime_ns

    assert main(["interpret", "--run", str(run), "--quiet"]) == 1              # a half-trained SAE is not used
    assert not (run / "emission").exists()

    process, seen = start(steps["train"], run), {}
    while process.poll() is None:
        for path in (run / "sae" / "checkpoints").glob("step-*.safetensors"):
            try: seen.setdefault(path.name, set()).add(path.stat().st_mtime_ns)
            except FileNotFoundError: pass
        time.sleep(.002)
    finish(process)
    assert seen[checkpoint.name] == {written}, "training began from the start"
    assert "step-00000400.safetensors" in seen and max(seen) <= "step-00000450.safetensors"
    assert not (run / "sae" / "checkpoints").exists()

    for name in ("interpret", "merge"): call(steps[name], run)
    assert_same_files(run, {path: content for path, content in expected.items() if path != "report.html" and not path.startswith("map/")})


OLDER = {   # step: option of an older run, first file it writes, step that must refuse what is half-written
    "bow": (["--min-df", "3"], ["--min-df", "5"], "bow/counts.npz", "interpret"),
    "interpret": (["--pi", ".2"], ["--pi", ".1"], "emission/emission.npz", "merge"),
    "merge": (["--kappa", "2"], ["--kappa", "10"], "topics/12/topics.npz", "report"),
}


@pytest.mark.parametrize("name", OLDER)
def test_a_step_that_is_stopped_between_its_files_goes_on_to_the_same_files(whole, source, tmp_path, monkeypatch, name):
    "Stopped right after its first file, over the files of an older run: the step after it refuses, the step again ends in the files of an uninterrupted one."
    (older, newer, first, after), steps, real = OLDER[name], steps_of(source), os.replace
    run, expected = Path(shutil.copytree(whole[0], tmp_path / "run")), Path(shutil.copytree(whole[0], tmp_path / "expected"))
    call([*steps[name], *older], run)

    def stop(path, target):
        real(path, target)
        if str(target) == str(run / first): raise KeyboardInterrupt
    monkeypatch.setattr(os, "replace", stop)
    assert main([*map(str, steps[name]), *newer, "--run", str(run), "--quiet"]) == 130
    monkeypatch.undo()

    assert main([*map(str, steps[after]), "--run", str(run), "--quiet"]) == 1, f"saetm {after} used what saetm {name} had left half-written"
    for folder in (expected, run):
        call([*steps[name], *newer], folder)
        for step in list(steps)[list(steps).index(name) + 1:]: call(steps[step], folder)
    assert_same_files(run, read_all(expected))

"""Topics are named through a server: good answers, answers of no use, and a second call that asks nothing again."""
import json

import numpy as np
import pytest
from servers import completion, serve  # noqa: F401

from saetm import SAETM
from saetm.cli import main
from saetm.judges import load_names

GROUPS = ["cat dog horse mouse".split(), "bread cheese butter honey".split(), "river ocean island beach".split()]
DOCS = [" ".join(group[i % 4:] + group[:i % 3 + 1]) for group in GROUPS for i in range(40)]


@pytest.fixture(scope="module")
def model():
    "A model of three subjects."
    noise = np.random.default_rng(0).normal(size=(120, 8)).astype("float32")
    return SAETM(n_topics=3, encoder=None, n_latents=12, k=2, steps=100).fit(DOCS, embeddings=noise * .3 + 4 * np.repeat(np.eye(8, dtype="float32")[:3], 40, 0))


def named(n, request):
    "Name the animals well, refuse food, and ramble about water."
    strongest = request["messages"][0]["content"].split("first: ")[1].split(",")[0]
    if strongest in GROUPS[0]:
        return 200, completion('<think>Cats are {animals}.</think> {"name": "Animals", "kind": "concrete"}'.replace("{animals}", "animals"))
    if strongest in GROUPS[1]:
        return 200, completion(None, refusal="I must not speak of food.")
    return 200, completion("Water, I would say; or perhaps {land?")


def test_names_and_what_is_of_no_use(serve, model, tmp_path, capsys):
    server, run = serve(named), model.save(tmp_path / "run")
    assert main(["name", str(run), "--judge", server.address, "--model", "m"]) == 0
    out = capsys.readouterr().out
    assert "3 topics, 2 by top words, 1 by m ->" in out and "Animals: " in out
    names = load_names(run / "topics" / "3")
    assert sorted((n.source, n.kind) for n in names) == [("m", "concrete"), ("top words", ""), ("top words", "")]
    assert len(server.asked) == 3
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == {"name", "kind"}

    loaded = SAETM.load(run)  # names are part of the model, and no part of its stamp
    assert loaded.names_ == names and "Animals" in loaded.get_topic_info().CustomName.tolist() and "Animals" in loaded._topic_names()
    loaded.report(tmp_path / "report.html", DOCS)
    page = (tmp_path / "report.html").read_text(encoding="utf8")
    assert "Animals" in page and "2 by top words, 1 by m" in page
    again = SAETM.load(loaded.save(tmp_path / "copy"))
    assert again.names_ == names
    assert again.set_n_topics(4).names_ is None and SAETM.load(again.save(tmp_path / "copy")).names_ is None


def test_a_run_merged_again_keeps_the_names_of_the_same_topics(serve, model, tmp_path, capsys):
    server, run, docs = serve(named), tmp_path / "run", tmp_path / "docs.txt"
    docs.write_text("\n".join(DOCS))
    np.save(tmp_path / "emb.npy", model.embeddings_)
    merge = f"merge --run {run} --n-topics 3"
    for line in (f"bow {docs} --run {run}", f"train --run {run} --embeddings {tmp_path}/emb.npy --n-latents 12 --top-k 2 --steps 100", f"interpret --run {run}", merge,
                 f"name {run} --judge {server.address} --model m"):
        assert main(line.split()) == 0
    capsys.readouterr()
    assert main(merge.split()) == 0
    assert "Animals: " in capsys.readouterr().out
    assert main(f"report {docs} --run {run}".split()) == 0 and "Animals" in (run / "report.html").read_text(encoding="utf8")
    capsys.readouterr()
    assert main(f"merge --run {run} --n-topics 4".split()) == 0
    assert "Animals" not in capsys.readouterr().out and load_names(run / "topics" / "4") is None
    words = run / "topics" / "3" / "top_words.txt"
    words.write_text(words.read_text().replace("cat", "cart"))  # as if merged from other features
    assert load_names(run / "topics" / "3") is None


def test_a_second_call_asks_only_what_is_new(serve, model, tmp_path, capsys):
    run = model.save(tmp_path / "run")
    failing = serve(lambda n, r: (200, completion('{"name": "Things", "kind": "odd"}')) if n <= 2 else (401, {"error": "no"}))
    assert main(["name", str(run), "--judge", failing.address, "--model", "m", "--workers", "1"]) == 1
    assert "401 Unauthorized" in capsys.readouterr().err and load_names(run / "topics" / "3") is None
    server = serve(lambda n, r: (200, completion('{"name": "Other things", "kind": "abstract"}')))
    for _ in range(2):
        assert main(["name", str(run), "--judge", server.address, "--model", "m"]) == 0
        assert len(server.asked) == 1
    assert sorted((n.name, n.kind) for n in load_names(run / "topics" / "3")) == [("Other things", "abstract"), ("Things", ""), ("Things", "")]


def test_names_edited_by_hand_and_damaged(model, tmp_path, capsys):
    run = model.save(tmp_path / "run")
    assert main(["name", str(run)]) == 0
    path = run / "topics" / "3" / "names.json"
    stored = json.loads(path.read_text())
    stored["names"][0] = dict(name="My own", kind="concrete", source="me")
    path.write_text(json.dumps(stored))
    assert SAETM.load(run).custom_labels_[0] == "My own"
    path.write_text(json.dumps(stored)[:-9])
    with pytest.raises(ValueError, match="names.json line 1: not valid JSON .*run `saetm name` again"):
        SAETM.load(run)
    path.write_text(json.dumps(stored | {"names": stored["names"][:2]}))
    with pytest.raises(ValueError, match="names.json has 2 names for 3 topics"):
        SAETM.load(run)
    capsys.readouterr()
    assert main(["name", str(tmp_path / "none")]) == 1
    assert main(["name", str(run), "--n-topics", "7"]) == 1
    err = capsys.readouterr().err
    assert "has no 7 topics: run `saetm merge" in err and "none" in err

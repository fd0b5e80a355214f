"""`saetm evaluate`: topics from anywhere, a stopped evaluation that asks nothing twice, and what a user can get wrong."""
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from servers import completion, serve  # noqa: F401

from saetm.cli import main

ROOT = Path(__file__).resolve().parent.parent
TOPICS = [[f"{letter}{letter}{other}" for other in "abcdefghijklmnopqrstuvwxy"] for letter in "abcdefgh"]
GOOD = '{"rationale": "fine", "score": 70}'


@pytest.fixture
def topics_file(tmp_path):
    path = tmp_path / "model" / "top_words.txt"
    path.parent.mkdir()
    path.write_text("\n".join(",".join(words) for words in TOPICS) + "\n", encoding="utf-8")
    return path


def answer(number, request):
    "Rate everything 70, and find the first word shown foreign."
    time.sleep(.03)
    prompt = request["messages"][0]["content"]
    return 200, completion(GOOD if "JSON" in prompt else prompt.split(": ")[1].split(",")[0])


def test_a_killed_evaluation_goes_on_without_repeating_a_call(serve, topics_file, tmp_path):  # noqa: F811
    def start(address, out):
        line = [sys.executable, "-c", "import sys; from saetm.cli import main; sys.exit(main())", "evaluate", topics_file, "--judge", address, "--model", "m", "--workers", "3", "--no-calibration", "--out", tmp_path / out]
        return subprocess.Popen([str(part) for part in line], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first, limit = serve(answer), time.monotonic() + 120
    process = start(first.address, "a")
    while len(first.asked) < 20:
        assert process.poll() is None and time.monotonic() < limit, process.communicate()
        time.sleep(.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (tmp_path / "a" / "evaluation.json").exists()  # nothing that looks finished
    second, whole = serve(answer), serve(answer)
    resumed, alone = start(second.address, "a"), start(whole.address, "b")
    for process in (resumed, alone):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    twice = set(first.asked) & set(second.asked)
    assert len(twice) <= 3  # only what was under way when it was killed
    assert len(first.asked) + len(second.asked) - len(twice) == len(whole.asked)
    assert (tmp_path / "a" / "evaluation.json").read_bytes() == (tmp_path / "b" / "evaluation.json").read_bytes()


def test_a_dry_run_asks_nothing_and_counts_what_would_be_asked(serve, topics_file, tmp_path, capsys):  # noqa: F811
    server = serve(answer)
    line = ["evaluate", str(topics_file), "--judge", server.address, "--model", "m", "--no-calibration", "--out", str(tmp_path / "out")]
    assert main([*line, "--dry-run"]) == 0
    counted = capsys.readouterr().out
    assert server.asked == []
    assert main(line) == 0
    assert f"'calls': {len(server.asked)}" in counted


def test_a_tree_of_experiments_is_scored_one_by_one(topics_file, tmp_path):
    other = topics_file.parent.parent / "deep" / "er" / "top_words.txt"
    other.parent.mkdir(parents=True)
    other.write_text("one,two,three\nfour,five,six\n", encoding="utf-8")
    assert main(["evaluate", str(tmp_path), "--judge", "none", "--quiet", "--out", str(tmp_path / "out")]) == 0
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(stored) == {"model", "deep/er"}
    short = {row["metric"]: row for row in stored["deep/er"]["scores"]}["unique_words"]
    assert short["value"] is None and "3 of 25 words" in short["reasons"]  # a counted skip, not a silent mean


def test_documents_labels_and_shares_of_topics_from_elsewhere(topics_file, tmp_path, capsys):
    texts = [" ".join(TOPICS[i % 8][:12]) for i in range(80)]
    table = tmp_path / "docs.csv"
    table.write_text("text,kind\n" + "".join(f"{text},{i % 8}\n" for i, text in enumerate(texts)), encoding="utf-8")
    np.save(tmp_path / "own.npy", np.arange(80) % 8)
    line = ["evaluate", str(topics_file), "--judge", "none", "--documents", str(table), "--label", "kind", "--shares", str(tmp_path / "own.npy")]
    assert main(line) == 0, capsys.readouterr().err
    stored = {row["metric"]: row["value"] for row in json.loads((topics_file.parent / "evaluation" / "evaluation.json").read_text())["model"]["scores"]}
    assert stored["nmi"] == stored["purity"] == stored["npmi"] == pytest.approx(1)


def test_words_that_no_document_has_are_counted_skips(tmp_path, capsys):
    path, table = tmp_path / "top_words.txt", tmp_path / "docs.csv"
    path.write_text("\n".join(",".join(f"{word}{n}" for n in range(25)) for word in ("qqq", "zzz")), encoding="utf-8")
    table.write_text("text,kind\nrivers and lakes,x\nmilk and bread,y\n", encoding="utf-8")
    assert main(["evaluate", str(path), "--judge", "none", "--documents", str(table), "--label", "kind"]) == 0, capsys.readouterr().err
    rows = {row["metric"]: row for row in json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())[tmp_path.name]["scores"]}
    assert rows["npmi"]["value"] is rows["c_v"]["value"] is None and "in no document" in rows["npmi"]["reasons"]


@pytest.mark.parametrize("extra, says", [
    (["--judge", "oracle"], "judge must be likelihood, encoder:NAME"),
    (["--judge", "http://127.0.0.1:9"], "needs the name of its model"),
    (["--judge", "none", "--label", "kind"], "--label names a column of the documents"),
    (["--judge", "none", "--documents", "wikipedia", "--label", "kind"], "the corpus wikipedia has no column 'kind'; it has"),
    (["--judge", "none", "--shares", "none.npy"], "none.npy"),
])
def test_bad_usage_names_the_option(topics_file, capsys, extra, says):
    assert main(["evaluate", str(topics_file), *extra]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("content, says", [("", "has no topics"), ("solo,alone\n", None)])
def test_odd_topic_files(tmp_path, capsys, content, says):
    path = tmp_path / "top_words.txt"
    path.write_text(content, encoding="utf-8")
    code = main(["evaluate", str(path), "--judge", "none"])
    assert code == (1 if says else 0), capsys.readouterr().err
    if says: assert says in capsys.readouterr().err


def test_labels_of_the_wrong_length_stop_before_a_judge_is_asked(serve, topics_file, tmp_path, capsys):  # noqa: F811
    server = serve(answer)
    np.save(tmp_path / "own.npy", np.arange(5) % 4)
    table = tmp_path / "docs.csv"
    table.write_text("text,kind\naaa bbb,x\naab bbc,y\n", encoding="utf-8")
    code = main(["evaluate", str(topics_file), "--judge", server.address, "--model", "m", "--documents", str(table), "--label", "kind", "--shares", str(tmp_path / "own.npy")])
    assert code == 1 and server.asked == []
    assert "must be of the same documents, got 2 and 5" in capsys.readouterr().err


def test_no_topics_there(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path), "--judge", "none"]) == 1
    assert "no top_words.txt in it or below" in capsys.readouterr().err


def test_a_run_without_topics_names_the_command(tmp_path, capsys):
    table = tmp_path / "docs.csv"
    table.write_text("text\n" + "rivers and lakes and boats\nmilk and bread and butter\n" * 10, encoding="utf-8")
    assert main(["bow", str(table), "--run", str(tmp_path / "run"), "--quiet"]) == 0
    assert main(["embed", str(table), "--encoder", "wordllama", "--run", str(tmp_path / "run"), "--quiet"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--judge", "none"]) == 1
    assert "has no topics yet: run `saetm merge" in capsys.readouterr().err

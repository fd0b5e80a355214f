"A blind reading: readers see no model, and their ratings come back to the models that made the lists."
import csv
import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "bench" / "blind.py"
RATINGS = dict(good=90, poor=30)


@pytest.fixture(scope="module")
def blind():
    spec = importlib.util.spec_from_file_location("blind", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(blind, tmp_path):
    "Make kits from 6 topics of one model, and 4 and an empty one of another; the first two of both are alike."
    for model, n in dict(good=6, poor=4).items():
        names = [f"{'both' if topic < 2 else model[0]}{topic}" for topic in range(n)]
        lines = [",".join(f"{name}w{i}" for i in range(9)) + "\n" for name in names]
        folder = tmp_path / "cells" / "made" / model / "T6-seed0"
        folder.mkdir(parents=True)
        (folder / "top_words.txt").write_text("".join(lines) + "\n" * (model == "poor"))

    def run(name="kit", *more, models=RATINGS):
        "Make a kit in a folder of this name."
        cells = ["--folder", tmp_path, "--corpus", "made", "--n-topics", 6, "--models", *models]
        blind.main(list(map(str, ["make", *cells, "--out", tmp_path / name, *more])))
        return tmp_path / name
    return run


def key(kit):
    "Return number -> (model, topic)."
    with open(kit / "key.csv") as file: rows = list(csv.DictReader(file))
    return {row["number"]: (row["model"], int(row["topic"])) for row in rows}


def rate(kit, name, shift=lambda topic: topic):
    "Write ratings that follow from the model and the topic."
    path = kit / name
    lines = [f"{number}, {RATINGS[model] + shift(topic)}\n" for number, (model, topic) in key(kit).items()]
    path.write_text("# mine\n" + "".join(lines))
    return path


def test_ratings_come_back_to_the_models(blind, make, tmp_path, capsys):
    kit = make()
    readers = rate(kit, "a.txt"), rate(kit, "b.txt", lambda topic: topic + 2)
    to_page = ["--write", tmp_path / "page.md", "--readers", "two hands"]
    blind.main(list(map(str, ["score", "--out", kit, *readers, *to_page])))
    said = capsys.readouterr().out
    found = json.loads(said.splitlines()[-1])
    assert found["means"] == dict(good=93.5, poor=32.5)               # 91 + mean of 0..5, 31 + mean of 0..3
    assert list(found["means"]) == ["good", "poor"]
    mean, low, high = found["differences"]["poor"]
    assert mean == -61 and low < mean < high
    assert found["agreement"] == dict(correlation=1, difference=2) and (found["readers"], found["lists"]) == (2, 10)
    page = (tmp_path / "page.md").read_text()
    for text in ("| poor | 4 | 32.5", "| 0% | 100% |", "- best, 96.0: g5w0", "- worst, 91.0: both0w0"):
        assert text in said and text in page
    for text in ("10 lists, read by two hands", "blind.py make", "blind.py score"): assert text in page


def test_readers_see_words_and_no_model(make):
    kit = make()
    text = (kit / "lists.txt").read_text()
    lines = [line.split("\t") for line in text.splitlines() if line[0] != "#"]
    assert [number for number, _ in lines] == [str(n) for n in range(1, 11)]
    assert all(len(words.split()) == 8 for _, words in lines)
    assert not any(model in text for model in RATINGS) and sum("both0w0" in words for _, words in lines) == 2
    for number, words in lines: assert f"{key(kit)[number][1]}w0 " in words
    again, other = make("again"), make("few", "--topics", 3, "--words", 2)
    assert all((again / name).read_text() == (kit / name).read_text() for name in ("lists.txt", "key.csv"))
    assert [model for model, _ in key(other).values()] == ["good"] * 3 + ["poor"] * 3


def test_a_kit_is_refused(make):
    missing = "none/T6-seed0/top_words.txt is missing: run `saetm benchmark .* --models none --n-topics 6 --seeds 0`"
    with pytest.raises(ValueError, match=missing): make(models=["none"])
    kit = make()
    (kit.parent / "cells/made/poor/T6-seed0/top_words.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="has no topics: run `saetm benchmark"): make("other")
    with pytest.raises(ValueError, match="key.csv exists and a reading may be under way"): make(models=["good"])
    make("kit", "--force", models=["good"])
    assert len(key(kit)) == 6
    with pytest.raises(ValueError, match="models must differ, got good good"): make("twice", models=["good", "good"])
    with pytest.raises(ValueError, match="words must be at least 1, got 0"): make("empty", "--words", 0)


@pytest.mark.parametrize("line, told", [
    ("11 50", "a.txt, line 12: number must be in 1..10, got '11'"),
    ("3 50", "a.txt, line 12: each list must be rated once, got list 3 again"),
    ("3 101", "rating must be a number in 0..100, got '101'"), ("3\tnan", "got 'nan'"), ("3 good", "got 'good'"),
    ("3 4 5", "a number and a rating, got '3 4 5'")])
def test_ratings_are_refused(blind, make, line, told):
    path = rate(make(), "a.txt")
    path.write_text(path.read_text() + line)
    with pytest.raises(ValueError, match=told): blind.read_ratings(path, 10)


def test_a_reader_rates_every_list(blind, make):
    kit = make()
    path = rate(kit, "a.txt")
    with pytest.raises(ValueError, match="each list must be rated, missing 11, 12"): blind.read_ratings(path, 12)
    path.write_text("".join(f"{n}\t50\n" for n in range(1, 11)))
    with pytest.raises(ValueError, match="ratings must differ, all are 50"): blind.read_ratings(path, 10)
    score = ["score", "--out", str(kit.parent), str(path)]
    with pytest.raises(ValueError, match="key.csv is missing: run"): blind.main(score)

"""A judge from outside the package: one function, and everything that takes a judge's name knows it."""
import json

import pytest

from saetm.cli import main
from saetm.judges import JUDGES, judge_usage, make_judge, rate_coherence, register_judge

TOPICS = [[f"{letter}{i}" for i in range(8)] for letter in "abcd"]


class LengthJudge:
    "Rate lists by the length of their first word, and choose the longest word."
    name = "length"
    def rate(self, lists): return [float(min(100, 10 * len(words[0]))) for words in lists]
    def odd_one_out(self, lists): return [max(range(len(words)), key=lambda i: len(words[i])) for words in lists]


@pytest.fixture
def length_judge():
    register_judge("length")(lambda _, cache, /, **options: LengthJudge())
    yield
    del JUDGES["length"]


def test_one_registration_is_enough(length_judge, tmp_path, capsys):
    assert rate_coherence(TOPICS, make_judge("length")).scores.tolist() == [20] * 4
    assert judge_usage().endswith("none or length")
    with pytest.raises(ValueError, match="judge must be likelihood, .* or length, got 'oracle'"):
        make_judge("oracle")
    (tmp_path / "top_words.txt").write_text("\n".join(map(",".join, TOPICS)) + "\n")
    assert main(["evaluate", str(tmp_path / "top_words.txt"), "--judge", "length", "--out", str(tmp_path / "out")]) == 0
    (evaluation,) = json.loads((tmp_path / "out" / "evaluation.json").read_text()).values()
    assert evaluation["judge"]["judge"] == "length"
    assert {row["metric"]: row["value"] for row in evaluation["scores"]}["c_r"] == 20


def test_a_name_after_the_colon_is_asked_for(length_judge):
    register_judge("named:WORD")(lambda word, cache, /, **options: word)
    try:
        assert make_judge("named:apple") == "apple"
        with pytest.raises(ValueError, match="named: needs a name after the colon"):
            make_judge("named")
    finally: del JUDGES["named"]

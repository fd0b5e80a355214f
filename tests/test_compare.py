"""`saetm compose` and `saetm timeline`: what they write, and what a user can get wrong."""
import json

import numpy as np
import pandas as pd
import pytest

from saetm import SAETM
from saetm.cli import main
from saetm.judges import TopicName, save_names

pytestmark = pytest.mark.filterwarnings("ignore:.*of the documents have no active feature")
THEMES = ["engine wheel brake motor diesel clutch gearbox piston", "flour butter sugar oven dough yeast pastry cream", "goal striker referee stadium league penalty keeper trophy"]
N_DOCS = 180


def table():
    "Cars and kitchens in the left half, football and kitchens in the right one, where cars end in the year 2000."
    rng = np.random.default_rng(0)
    theme = [(0, 1)[i % 2] if i < N_DOCS // 2 else (2, 1)[i % 2] for i in range(N_DOCS)]
    return pd.DataFrame(dict(text=[" ".join(rng.choice(THEMES[t].split(), 8)) for t in theme], side=["left"] * (N_DOCS // 2) + ["right"] * (N_DOCS // 2),
        date=[f"{1990 + 20 * i // N_DOCS}-06-{1 + i % 28:02}" for i in range(N_DOCS)], era=["early"] * (N_DOCS // 2) + ["late"] * (N_DOCS // 2)))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "docs.csv"
    table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    for line in (["bow", source, "--min-df", 2], ["embed", source, "--encoder", "wordllama"], ["train", "--n-latents", 48, "--k", 4, "--steps", 150, "--batch-size", 64], ["interpret"], ["merge", "--n-topics", 3]):
        assert main([*map(str, line), "--run", str(run), "--quiet"]) == 0
    return run


@pytest.fixture
def command(capsys):
    "Run a command: its exit status, what it printed, and its error message, which is never a traceback."
    def call(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        assert "Traceback" not in error
        return status, out, error
    return call


def test_groups_are_compared_and_the_files_agree(command, source, run, tmp_path):
    status, out, error = command("compose", source, "--groups", "side", "--run", run, "--out", tmp_path / "a")
    assert (status, error) == (0, "")
    assert "topics differ between groups" in out and f"composition -> {tmp_path / 'a'}" in out
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["composition.csv", "composition.md", "composition.parquet", "composition.png"]
    rows = pd.read_parquet(tmp_path / "a" / "composition.parquet")
    pd.testing.assert_frame_equal(rows, pd.read_csv(tmp_path / "a" / "composition.csv", keep_default_na=False, na_values=["nan"]), check_dtype=False)
    assert len(rows) == 3 * 2 and (rows.groupby("Group").Share.sum() <= 1 + 1e-9).all()
    assert (tmp_path / "a" / "composition.md").read_text(encoding="utf-8") in out
    assert (rows[rows.q <= .05].Topic.nunique()) >= 2              # cars are left, football is right


def test_a_change_is_dated(command, source, run, tmp_path):
    status, out, error = command("timeline", source, "--dates", "date", "--bins", "decade", "--run", run, "--out", tmp_path / "t")
    assert (status, error) == (0, "")
    tests = pd.read_parquet(tmp_path / "t" / "timeline_tests.parquet")
    dated = tests[tests.Change.notna()]
    assert len(dated) >= 2 and ((dated.Change - 2000).abs() < 1).all() and (dated.Change_low <= 2000.5).all()
    assert set(pd.read_parquet(tmp_path / "t" / "timeline.parquet").Bin) == {"1990", "2000"}


@pytest.mark.parametrize("bins, names", [(["A=1990", "B=1995", "C=2005"], ["A", "B", "C"]), (["1990", "2000-01-01", "2015"], ["1990", "2000"]), (["4"], None)])
def test_bins_in_several_ways(command, source, run, tmp_path, bins, names):
    status, _, error = command("timeline", source, "--dates", "date", "--run", run, "--out", tmp_path, "--quiet", "--bins", *bins)
    assert (status, error) == (0, "")
    found = pd.read_csv(tmp_path / "timeline.csv").Bin.astype(str).unique().tolist()
    assert found == names if names else len(found) == 4


def test_eras_by_name(command, source, run, tmp_path):
    status, out, error = command("timeline", source, "--dates", "era", "--bins", "early", "late", "--run", run, "--out", tmp_path)
    assert (status, error) == (0, "") and "per era" in out and "late (late to late)" in out


def test_the_commands_give_what_the_functions_give(command, source, run, tmp_path):
    from saetm.analysis import compose_model
    assert command("compose", source, "--groups", "side", "--measure", "share", "--seed", 3, "--min-docs", 1, "--run", run, "--out", tmp_path)[0] == 0
    wanted = compose_model(SAETM.load(run), table().side, measure="share", seed=3, min_docs=1).frame()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "composition.parquet"), wanted, check_dtype=False)


def test_given_names_are_used_and_another_number_of_topics_is_merged(command, source, run, tmp_path):
    save_names(run / "topics" / "3", [TopicName(name, "concrete", "judge") for name in ("One", "Two", "Three")])
    assert command("compose", source, "--groups", "side", "--run", run, "--out", tmp_path)[0] == 0
    assert pd.read_csv(tmp_path / "composition.csv").Name.unique().tolist() == ["One", "Two", "Three"]
    status, out, _ = command("compose", source, "--groups", "side", "--n-topics", 4, "--run", run, "--out", tmp_path)
    assert status == 0 and "topics      4" in out and pd.read_csv(tmp_path / "composition.csv").Topic.nunique() == 4
    assert command("merge", "--n-topics", 3, "--run", run, "--quiet")[0] == 0


def test_documents_without_a_group_take_no_part(command, run, tmp_path):
    rows = table()
    rows.loc[[0, 5, 100], "side"] = None
    rows.to_csv(tmp_path / "docs.csv", index=False)
    status, out, _ = command("compose", tmp_path / "docs.csv", "--groups", "side", "--run", run, "--out", tmp_path)
    assert status == 0 and "3 documents without a group take no part" in out


@pytest.mark.parametrize("line, says", [
    (["compose", "--groups", "sides"], "has no column 'sides'; it has: text, side, date, era"),
    (["compose", "--groups", "side", "--text", "body"], "'body'"),
    (["compose", "--groups", "side", "--order", "left"], "at least 2 groups"),
    (["compose", "--groups", "side", "--order", "left", "middle"], "'middle' have none; known are 'left', 'right'"),
    (["compose", "--groups", "side", "--measure", "size"], "measure must be largest, share, active, got 'size'"),
    (["compose", "--groups", "side", "--n-topics", "1"], "n_topics must be a whole number of 2 or more, got 1"),
    (["timeline", "--dates", "date", "--bins", "2010", "1990"], "bins must begin one after the other"),
    (["timeline", "--dates", "date", "--bins", "fortnight"], "bins must be year, decade"),
    (["timeline", "--dates", "date", "--bins=0"], "bins must be at least 1, got 0"), (["timeline", "--dates", "date", "--bins=-3"], "bins must be at least 1, got -3"),
    (["timeline", "--dates", "date", "--bins", "2.5"], "bins must be a whole number, got 2.5"), (["timeline", "--dates", "date", "--bins", "none"], "bins must be year, decade"),
    (["timeline", "--dates", "date", "--bins", "1800", "1850"], "no document has a time in the bins, 1800 to 1850; the times are "),
    (["timeline", "--dates", "side"], "column 'side': times must be numbers or dates such as 2015-10-12: 180 of 180 are not, the first at position 0 ('left'), 1 ('left')"),
])
def test_bad_usage_is_named(command, source, run, tmp_path, line, says):
    status, _, error = command(line[0], source, *line[1:], "--run", run, "--out", tmp_path / "out")
    assert status == 1 and says in error and not (tmp_path / "out").exists()


def test_dates_that_cannot_be_read_are_given_with_their_rows(command, run, tmp_path):
    rows = table()
    rows.loc[[3, 17], "date"] = ["1990-13-01", "spring"]
    rows.loc[4, "date"] = None                                  # missing is not unreadable
    rows.to_csv(tmp_path / "docs.csv", index=False)
    status, _, error = command("timeline", tmp_path / "docs.csv", "--dates", "date", "--run", run)
    assert status == 1 and "docs.csv, column 'date'" in error and "2 of 180 are not, the first at position 3 ('1990-13-01'), 17 ('spring')" in error


def test_other_documents_or_another_number_of_them_are_refused(command, run, tmp_path):
    rows = table()
    rows[:-1].to_csv(tmp_path / "short.csv", index=False)
    rows[::-1].to_csv(tmp_path / "turned.csv", index=False)
    for name, says in (("short.csv", "fitted on 180 documents, got 179"), ("turned.csv", "fitted on other documents")):
        status, _, error = command("compose", tmp_path / name, "--groups", "side", "--run", run)
        assert status == 1 and says in error


def test_a_run_without_topics_names_the_command(command, source, tmp_path):
    assert command("bow", source, "--run", tmp_path / "run", "--quiet")[0] == 0
    status, _, error = command("compose", source, "--groups", "side", "--run", tmp_path / "run")
    assert status == 1 and "saetm merge" in error


def test_notes_are_in_the_file(command, source, run, tmp_path):
    assert command("compose", source, "--groups", "side", "--small", 500, "--run", run, "--out", tmp_path)[0] == 0
    assert "fewer than 500 documents: left (90), right (90)" in (tmp_path / "composition.md").read_text()
    assert json.loads(pd.read_csv(tmp_path / "composition.csv").Documents.to_json(orient="values"))[0] == 90

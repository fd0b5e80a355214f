"""The scripts that build the site: numbering, link check, and the cells a run leaves out."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from check_links import check  # noqa: E402
from crossref import UnknownLabel, number  # noqa: E402
from pages import page_name  # noqa: E402
from reference import brief, entries, reference  # noqa: E402
from run_notebooks import skips  # noqa: E402


def page(*cells):
    return {"cells": [{"cell_type": kind, "source": source, "outputs": []} for kind, source in cells]}


def test_labels_are_numbered_by_kind_and_linked():
    cells = page(("markdown", "See @fig-b, @fig-a and [-@eq-loss], not `@fig-b`."), ("code", "#| label: fig-a\n#| fig-cap: \"One\"\nplot()"),
                 ("code", "#| label: fig-b\n#| fig-cap: Two\nplot()"), ("markdown", "$$\na = b\n$$ {#eq-loss}"))
    number(cells, "x.ipynb")
    prose, first, second, equation = (cell["source"] for cell in cells["cells"])
    assert prose == "See [Figure 2](#fig-b), [Figure 1](#fig-a) and [1](#eq-loss), not `@fig-b`."
    assert '#| fig-cap: "Figure 1: One"' in first and '#| fig-cap: "Figure 2: Two"' in second
    assert "\\tag{1}" in equation and "#eq-loss" in equation


def test_an_unknown_or_doubled_label_stops_the_build():
    with pytest.raises(UnknownLabel, match="x.ipynb: @tbl-none .* the labels are: fig-a"):
        number(page(("markdown", "@tbl-none"), ("code", "#| label: fig-a\n1")), "x.ipynb")
    with pytest.raises(UnknownLabel, match="fig-a is there twice"):
        number(page(("code", "#| label: fig-a\n1"), ("code", "#| label: fig-a\n2")), "x.ipynb")


@pytest.mark.parametrize("source, expected", [
    ("#| eval: false\n1", True), ("#|eval: False\n1", True), ("#| slow\n1", True), ("# | gpu\n1", True), ("nbdev.nbdev_export()", True),
    ("#| export\ndef f(): pass", False), ("#| eval: true\n1", False), ("x = 1  #| slow", False), ("", False),
])
def test_cells_left_out(source, expected):
    assert skips(source, {"slow", "gpu", "notest"}) is expected


def test_pages_lose_their_number():
    assert [page_name(name) for name in ("02_corpus.ipynb", "index.ipynb", "nbs/12_a_b.ipynb")] == ["corpus", "index", "a_b"]


MODULE = '''
class Pair(NamedTuple):
    "Two arrays."
    left: np.ndarray        # the first (D, d)
    n: int = 1              # how many

class Box(nn.Module):
    "Holds things."
    def __init__(self,
        size,               # width d
        **rest,             # passed on
    ): pass
    def look(self, rows):   # rows to look at (n,)
        "Look inside."
    def _hidden(self): "Not shown."

@patch
def shut(self:Box, hard=False): "Close it."

def fit(
    x,                      # data (D, d), `float32`
    weights=None, seed=0,   # seed_of_all
    *, steps: int = 2 * 3,  # passes
) -> Pair:                  # both sides (D, k)
    "Fit."
    y = x  # no parameter
    return y

def _private(): "Not shown."
'''


def test_reference_reads_parameters_shapes_and_results():
    pair, box, look, shut, fit = entries(MODULE)
    assert pair["rows"] == [("left", None, "the first (D, d)"), ("n", "1", "how many")]
    assert box["rows"] == [("size", None, "width d"), ("**rest", None, "passed on")]
    assert (look["name"], shut["name"], shut["rows"]) == ("Box.look", "Box.shut", [("hard", "False", "")])
    assert [row[2] for row in fit["rows"]] == ["data (D, d), `float32`", "", "seed_of_all", "passes"] and fit["gives"] == "both sides (D, k)"
    assert brief(fit) == "x (D, d), weights=None, seed=0, steps=2 * 3 → Pair (D, k)"
    page = reference(MODULE, {"fit"})
    assert '<a href="#fit">' in page and '<a href="#pair">' not in page and "<code>float32</code>" in page and "seed_of" not in page.replace("&#95;", "-")
    assert reference("x = 1") == ""


def test_link_check(tmp_path):
    (tmp_path / "index.html").write_text('<a href="a.html#here">a</a><a href="https://example.org">out</a>')
    (tmp_path / "a.html").write_text('<p id="here">x</p>')
    assert check(tmp_path)[0] == []
    (tmp_path / "a.html").write_text('<p>see @fig-x and $$a$$</p><code>@fig-y</code><script src="https://cdn.example.org/x.js"></script><a href="b.html">b</a>')
    (tmp_path / "lost.html").write_text("<p>lost</p>")
    wrong = "\n".join(check(tmp_path)[0])
    for expected in ("a.html#here: no such anchor", "b.html: no such file", "a reference was left", "$$ was left", "loads https://cdn", "lost.html: no link"):
        assert expected in wrong, expected
    assert "@fig-y" not in wrong.replace("see @fig-x", "")

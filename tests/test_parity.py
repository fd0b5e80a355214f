"""What bench/parity says of two implementations follows from their scores."""
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PATH = Path(__file__).resolve().parents[1] / "bench" / "parity" / "run.py"


@pytest.fixture(scope="module")
def parity():
    spec = importlib.util.spec_from_file_location("parity_run", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(implementation, npmi, unique25, nmi):
    return [dict(corpus="c", model="lda", implementation=implementation, seed=seed, npmi=a, unique25=b, nmi=c) for seed, (a, b, c) in enumerate(zip(npmi, unique25, nmi))]


def test_means_agree_when_their_ranges_meet(parity):
    assert parity.within_spread([0, 2, 4], [3, 5, 7])            # means 2 and 5, deviations 2 and 2
    assert not parity.within_spread([0, 2, 4], [5, 7, 9])        # means 2 and 7
    assert parity.within_spread([1, 1], [1, 1]) and not parity.within_spread([1, 1], [2, 2])
    with pytest.raises(ValueError, match="2 seeds or more, got 1 and 3"): parity.within_spread([0], [1, 2, 3])


def test_the_table_names_what_lies_beyond_the_spread(parity):
    scores = pd.DataFrame(rows("saetm", [.1, .2, .3], [.5, .5, .5], [.3, .4, .5]) + rows("TopMost", [.2, .3, .4], [.7, .7, .7], [.3, .4, .5]))
    compared = parity.compare(scores, [("saetm", "TopMost")])
    assert compared.implementation.tolist() == ["saetm", "TopMost"] and np.isclose(compared.npmi_difference[1], .1)
    assert parity.table(compared)[2:] == ["| lda | saetm | 0.200 ± 0.100 | 0.500 ± 0.000 | 0.400 ± 0.100 |  |", "|  | TopMost | 0.300 ± 0.100 | 0.700 ± 0.000 | 0.400 ± 0.100 | unique words +0.200 |"]
    equal = parity.compare(scores.assign(unique25=.5), [("saetm", "TopMost")])
    assert parity.table(equal)[-1].endswith("| nothing |")
    assert len(parity.compare(scores, [("saetm", "TopMost"), ("saetm", "another")])) == 2       # a pair that was not run is left out


def test_a_cell_is_finished_if_it_was_made_with_the_same_settings(parity, tmp_path):
    cell = parity.plan(["wikipedia"], ["lda"], [0])[0]
    cell["out"] = str(tmp_path / "cells" / "cell.npz")
    assert not parity.finished(cell)
    parity.write_result(cell, 1.0, beta=np.eye(2), theta=np.eye(2))
    assert parity.finished(cell) and [path.name for path in (tmp_path / "cells").iterdir()] == ["cell.npz"]
    assert not parity.finished({**cell, "key": {**cell["key"], "settings": dict(passes=21)}})


def test_every_cell_has_a_file_and_a_function_of_its_own(parity):
    cells = parity.plan(list(parity.CORPORA), list(parity.SETTINGS), [0, 1, 2]) + [cell for corpus in parity.CORPORA for cell in parity.plan_numbers(corpus, [*parity.SETTINGS, *parity.NUMBERS_ONLY])]
    assert len({cell["out"] for cell in cells}) == len(cells)
    outside, choices = ((PATH.parent / name).read_text() for name in ("outside.py", "choices.py"))
    assert all(f"def {cell['function']}(" in outside for cell in cells if cell["side"] == "theirs")
    assert all(f"{model}=" in choices[choices.index("CHOICES = dict("):] for model in [*parity.SETTINGS, *parity.NUMBERS_ONLY])
    assert {name for pairs in parity.PAIRS.values() for pair in pairs for name in pair} == set(parity.IMPLEMENTATIONS)

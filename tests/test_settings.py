"""A setting has one home: what signatures, help and the docs say comes from there."""
import inspect
import re
from pathlib import Path

import pytest

from saetm import SAETM, fit_sae
from saetm.cli import COMMANDS, main
from saetm.corpus import count_words
from saetm.word_fitting import fit_emission
from saetm.merging import describe_topics, feature_vectors, topic_posterior
from saetm.settings import RunSettings, describe_settings
from saetm.streams import count_to_shards

ROOT = Path(__file__).resolve().parent.parent
DESCRIBED = describe_settings()
FUNCTIONS = [count_words, count_to_shards, fit_sae, fit_emission, describe_topics, feature_vectors, topic_posterior]


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_setting_has_one_default_and_one_meaning(name, capsys):
    default, _, meaning = DESCRIBED[name]
    assert meaning and inspect.signature(SAETM).parameters[name].default == default
    for function in FUNCTIONS:
        parameter = inspect.signature(function).parameters.get(name)
        other = function is fit_emission and name in ("batch_size", "lr")                   # of AdamW
        if parameter is not None and parameter.default is not parameter.empty and not other:
            assert parameter.default == default, f"{function.__name__} has another default of {name}"
    for command, function in COMMANDS.items():
        if name != "tokenizer" and name in (describe_settings(*function.settings) if hasattr(function, "settings") else ()):
            assert main([command, "--help"]) == 0
            assert " ".join(meaning.split())[:40] in " ".join(capsys.readouterr().out.split()), f"saetm {command} --help says something else of {name}"


def test_the_readme_names_settings_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf8")
    given = {name for call in re.findall(r"SAETM\(([^()]*)\)", text) for name in re.findall(r"(\w+)=", call)}
    assert given <= DESCRIBED.keys()


def test_a_new_default_is_one_line(monkeypatch, capsys):
    from dataclasses import fields
    field = next(field for field in fields(RunSettings) if field.name == "seed")
    monkeypatch.setattr(field, "default", 7)
    main(["merge", "--help"])
    assert "(default: 7)" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_means(command):
    from saetm.cli import make_parser
    parser = make_parser(command)._subparsers._group_actions[0].choices[command]
    assert [action.dest for action in parser._actions if not (action.help or "").strip()] == []

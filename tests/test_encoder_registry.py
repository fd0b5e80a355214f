"""Encoders from outside the package: one entry each, and everything that takes an encoder's name knows it."""
import json

import numpy as np
import pytest

from saetm import load_corpus
from saetm.cli import main
from saetm.embedding import ENCODERS, as_encoder, embed, open_embeddings
from saetm.images import IMAGE_ENCODERS, embed_images

TEXTS = ["see the sea", "a mat", "fog", "trees"] * 3


@pytest.fixture
def letters():
    "Count letters: `letters:ae` gives vectors of width 2."
    ENCODERS["letters:"] = lambda name, device, precision: lambda texts: [
        [text.count(letter) for letter in name.removeprefix("letters:")] for text in texts]
    yield
    del ENCODERS["letters:"]


@pytest.fixture
def colour():
    "Average the colours of pictures."
    IMAGE_ENCODERS["colour"] = lambda name, device, precision: lambda pictures: [
        np.asarray(picture).mean((0, 1)) for picture in pictures]
    yield
    del IMAGE_ENCODERS["colour"]


def test_one_entry_makes_an_encoder_of_texts_known(letters, tmp_path, capsys):
    assert embed(TEXTS[:2], "letters:ae").tolist() == [[1, 4], [2, 0]]
    (tmp_path / "docs.txt").write_text("\n".join(TEXTS) + "\n")
    command = ["embed", str(tmp_path / "docs.txt"), "--encoder", "letters:ae", "--run", str(tmp_path / "run")]
    for _ in range(2): assert main(command) == 0                               # the second call reuses the first one's
    found = open_embeddings(tmp_path / "run" / "embeddings")
    assert found.manifest["encoder"] == "letters:ae" and found[:2].tolist() == [[1, 4], [2, 0]]
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["params"]["encoder"] == "letters:ae"


def test_one_entry_makes_an_encoder_of_pictures_known(colour):
    pictures = load_corpus("openmoji").image[:3].tolist()
    assert embed_images(pictures, "colour").shape == (3, 3)


def test_errors_list_the_names_and_tell_texts_from_pictures(letters):
    with pytest.raises(ValueError, match="known names are all-MiniLM-L6-v2, wordllama, use-multilingual, openai:, letters:"):
        as_encoder("nobody/nothing")
    with pytest.raises(ValueError, match="'letters:ae' reads texts"): embed_images([np.zeros((9, 9, 3))], "letters:ae")



"""Plotly figures in a real browser: opened from a file, without a network."""
import numpy as np
import pytest
from browser import Browser

from saetm.interactive import visualize_documents, visualize_topics

pytest.importorskip("plotly")
NASTY = "</script><script>window.broken=1</script><img src=x onerror=\"window.broken=1\"><b>bold</b> %{x} $a$"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def complaints(browser):
    "What the page says, without what the driver of a graphics card made of software says of its own speed."
    return [text for text in browser.complaints() if "GL Driver Message" not in str(text)]


def show(browser, figure, path):
    figure.write_html(path, include_plotlyjs=True, config=dict(scrollZoom=True))
    browser.open(path.as_uri(), "document.querySelector('.js-plotly-plot .main-svg') !== null")


def test_a_hundred_thousand_documents_open_and_can_be_zoomed(browser, tmp_path):
    random = np.random.default_rng(0)
    topic = random.integers(0, 50, 100_000)
    positions = random.normal(size=(50, 2))[topic] * 5 + random.normal(size=(100_000, 2))
    show(browser, visualize_documents(positions, topic, [f"topic {t}" for t in range(50)]), tmp_path / "documents.html")
    plot = "document.querySelector('.js-plotly-plot')"
    assert browser.run(f"{plot}._fullData.reduce((sum, trace) => sum + trace._length, 0)") == 100_000
    before = browser.run(f"{plot}.layout.xaxis.range")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=500, y=400, deltaX=0, deltaY=-240)
    browser.wait(f"JSON.stringify({plot}.layout.xaxis.range) !== '{str(before).replace(' ', '')}'")
    assert complaints(browser) == []


def test_markup_in_names_and_documents_stays_text(browser, tmp_path):
    show(browser, visualize_documents([[0, 0], [1, 1]], [0, 1], [NASTY, "plain"], [NASTY, "plain"], title=NASTY), tmp_path / "rude.html")
    assert browser.run("window.broken === undefined && document.querySelector('img[src=x]') === null")
    assert "<b>bold" in browser.run("document.querySelector('.gtitle').textContent")
    assert complaints(browser) == []


def test_hover_brings_up_the_words(browser, tmp_path):
    show(browser, visualize_topics([[0, 0], [1, 1]], [10, 10], [[("moon", 1.), ("<i>star", .5)], [("cell", 1.)]]), tmp_path / "topics.html")
    x, y = browser.run("(() => { const b = document.querySelector('.points path').getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    browser.mouse(x, y, click=False)
    browser.wait("document.querySelector('.hoverlayer .hovertext') !== null")
    assert "moon, <i>star" in browser.run("document.querySelector('.hoverlayer').textContent")
    assert complaints(browser) == []

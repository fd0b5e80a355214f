"""The report in a real browser: opened from a file, without a network, with mouse and keyboard."""
import numpy as np
import pytest
from browser import Browser

from saetm.figures import write_report

NASTY = "</script><script>window.broken=1</script><img src=x onerror=\"window.broken=1\"> 'quoted' & \"double\""
WORDS = [["space", "orbit", "rocket"], ["piano", "opera", "melody"], ["cell", "gene", "protein"], ["goal", "match", "league"], ["café", "bread", "wine"]]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    random = np.random.default_rng(0)
    topic = np.repeat(np.arange(5), [60, 50, 40, 30, 20])
    centre = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [4, 4]])
    page = centre[topic] + random.normal(size=(200, 2)) * .7
    text = [f"Document {row} speaks of {random.choice(WORDS[one])} and {random.choice(WORDS[one])}" for row, one in enumerate(topic)]
    text[7], topic[199] = NASTY, -1
    topics = [dict(id=one, name="" if one else NASTY, words=[(word, 3. - place) for place, word in enumerate(words)], size=int((topic == one).sum()), coverage=.3, probability=.2,
                   n_features=4, representative=[dict(row=int(np.flatnonzero(topic == one)[0]), text=text[np.flatnonzero(topic == one)[0]], weight=.9), dict(row=7, text=NASTY, weight=.5)])
              for one, words in enumerate(WORDS)]
    tree = [[0, 1, .2, 2], [2, 3, .3, 2], [5, 6, .6, 4], [4, 7, .9, 5]]
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, title=f"Report {NASTY}", topics=topics, facts={"Corpus": NASTY, "Seed": 0}, hierarchy=tree, labels={"Kind": [NASTY if row % 2 else "plain" for row in range(200)]},
                 documents=dict(x=page[:, 0], y=page[:, 1], topic=topic, text=text, title=[f"Title {row}" for row in range(200)]))
    return path


def show(browser, path, hash=""):
    browser.open(path.resolve().as_uri() + hash, "document.documentElement?.dataset.ready === 'yes'")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


ROWS = "document.querySelectorAll('#topics .row').length"
HEADING = "document.querySelector('#panel h2').textContent"


def test_opens_without_complaint_and_lists_all_topics(browser, report):
    show(browser, report)
    assert browser.run(ROWS) == 5
    assert browser.run("document.querySelector('#summary').textContent") == "200 documents · 5 topics"
    assert browser.complaints() == []
    assert sum(event.get("method") == "Network.requestWillBeSent" for event in browser.events) == 1  # the file itself


def test_documents_full_of_markup_stay_text(browser, report):
    show(browser, report, "#topic=0")
    assert browser.run("window.broken === undefined && document.images.length === 0 && document.scripts.length === 2")
    assert browser.run(HEADING) == NASTY
    assert NASTY in browser.run("document.querySelector('#panel').textContent")
    assert browser.run("document.title").startswith("Report </script>")
    assert browser.complaints() == []


def test_search_filters_topics_and_documents(browser, report):
    show(browser, report, "#search=piano")
    assert browser.run(ROWS) == 1
    assert "with “piano”" in browser.run(HEADING)
    assert browser.run("document.querySelectorAll('#panel mark').length") > 0
    browser.press("Escape")
    assert browser.run(ROWS) == 5
    browser.press("/")
    browser.type("CAFE")  # accents and capitals do not matter
    browser.wait(f"{ROWS} === 1")
    assert browser.run("document.querySelector('#topics .name').textContent") == "café, bread, wine"
    browser.run("document.querySelector('#search').value = ''")
    browser.type("zzzz")
    browser.wait(f"{ROWS} === 0")
    assert "No topic" in browser.run("document.querySelector('#topics').textContent")
    assert browser.complaints() == []


def test_click_in_the_list_opens_a_topic_and_escape_closes_it(browser, report):
    show(browser, report)
    browser.click("#topics [data-topic='2']")
    assert browser.run(HEADING) == "cell, gene, protein"
    assert browser.run("location.hash") == "#topic=2"
    assert browser.run("document.querySelectorAll('#topics [aria-pressed=true]').length") == 1
    browser.press("Escape")
    assert browser.run(HEADING) == "Overview"
    assert browser.run("location.hash") == ""


def test_dots_show_their_text_and_select_their_topic(browser, report):
    show(browser, report)
    box = browser.run("(() => { const b = document.querySelector('#canvas').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()")
    for step in range(400):  # walk over the map until the pointer meets a dot
        x, y = box[0] + box[2] * (.1 + .8 * (step % 20) / 20), box[1] + box[3] * (.1 + .8 * (step // 20) / 20)
        browser.mouse(x, y, click=False)
        if not browser.run("document.querySelector('#tooltip').hidden"): break
    assert "Title" in browser.run("document.querySelector('#tooltip').textContent")
    browser.mouse(x, y)
    assert browser.run("document.body.dataset.shows") in ("topic", "document")
    assert browser.complaints() == []


def test_sorts_by_name_and_by_likeness(browser, report):
    show(browser, report, "#sort=name")
    names = browser.run("[...document.querySelectorAll('#topics .name')].map(e => e.textContent)")
    assert names[1:] == ["café, bread, wine", "cell, gene, protein", "goal, match, league", "piano, opera, melody"]
    browser.click("[data-sort='name']")
    assert browser.run("document.querySelector('#topics .name').textContent") == "piano, opera, melody"
    browser.click("[data-sort='related']")
    assert browser.run("[...document.querySelectorAll('#topics .row')].map(e => e.dataset.topic).join()") in ("4,0,1,2,3", "0,1,2,3,4")
    assert browser.run("document.querySelectorAll('#tree path').length") == 1


def test_keyboard_alone_reaches_a_topic(browser, report):
    show(browser, report)
    browser.press("/")
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    browser.press("Enter")
    assert browser.run(HEADING) == "piano, opera, melody"
    assert browser.run("document.activeElement.dataset.topic") == "1"


def test_follows_the_theme_of_the_system_and_the_button(tmp_path, report):
    browser = Browser(tmp_path / "profile", dark=True)
    try:
        show(browser, report)
        assert browser.run("document.documentElement.dataset.theme") == "dark"
        browser.click("#theme")
        assert browser.run("document.documentElement.dataset.theme") == "light"
        assert browser.run("location.hash") == "#theme=light"
    finally: browser.close()


def test_fits_a_phone(tmp_path, report):
    browser = Browser(tmp_path / "profile", width=390, height=844)
    try:
        for hash in ("", "#topic=0", "#search=space"):
            show(browser, report, hash)
            assert browser.run("document.documentElement.scrollWidth") <= 390
            assert browser.complaints() == []
    finally: browser.close()

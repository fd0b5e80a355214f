"""The report in a real browser: opened from a file, without a network, with mouse and keyboard."""
import io
from types import SimpleNamespace

import numpy as np
import pytest
from browser import Browser

from saetm.report import write_report

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
                 documents=dict(x=page[:, 0], y=page[:, 1], topic=topic, text=text, title=[NASTY if row == 7 else f"Title {row}" for row in range(200)]))
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
        show(browser, report, "")
        assert browser.run("[...document.querySelectorAll('h3')].filter(e => e.offsetHeight && !e.nextElementSibling?.offsetHeight).map(e => e.textContent)") == [], "a heading over nothing"
    finally: browser.close()


def square(colour):
    from PIL import Image
    Image.new("RGB", (48, 48), colour).save(png := io.BytesIO(), "png")
    return png.getvalue()


def made_up(shape, seed, **more):
    "Shares by group or time, with intervals."
    random = np.random.default_rng(seed)
    share = random.uniform(.02, .4, shape)
    return SimpleNamespace(share=share, low=share * .7, high=share * 1.3, q=np.array([.0001, .02, .4, np.nan, .03]), dropped={3: "covers 2 documents, fewer than 5"}, notes=["5 documents without a group take no part"], measure="largest", **more)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    random = np.random.default_rng(1)
    topic, colours = np.repeat(np.arange(5), 40), ["#c33", "#3a3", "#33c", "#aa3", "#a3a"]
    page = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [4, 4]])[topic] + random.normal(size=(200, 2)) * .7
    topics = [dict(id=one, words=[(word, 3. - place) for place, word in enumerate(words)], size=40, representative=[dict(row=one * 40, text=f"a picture of {words[0]}", weight=.9)]) for one, words in enumerate(WORDS)]
    groups = [NASTY, "second group", "third group"]
    nothing = np.full(5, np.nan)
    years = np.arange(2000, 2012)
    change = np.where(np.arange(5) == 0, 2006.25, np.nan)
    times = made_up((5, 12), 3, groups=[str(year) for year in years], n_docs=[20] * 12, starts=years.astype(float), centres=years + .5, slope=np.array([.01, .01, 0, np.nan, -.01]), change=change, change_low=change - 1,
                    change_high=change + 1, before=np.where(np.isnan(change), np.nan, .1), after=np.where(np.isnan(change), np.nan, .3))
    path = tmp_path_factory.mktemp("rich") / "report.html"
    write_report(path, title="Pictures", topics=topics, facts={"Seed": 0}, labels={"Outlet": [groups[row % 3] for row in range(200)]}, group_name="Outlet",
                 composition=made_up((5, 3), 2, groups=groups, n_docs=[70, 70, 60]), timeline=times, thumbnails=[square(colours[one]) if row % 4 else None for row, one in enumerate(topic)],
                 documents=dict(x=page[:, 0], y=page[:, 1], topic=topic, text=[f"a picture of {WORDS[one][row % 3]} {row}" for row, one in enumerate(topic)]))
    return path


TILES = "document.querySelectorAll('.view:not([hidden]) .tile').length"


def test_tabs_lead_to_groups_and_timeline(browser, rich):
    show(browser, rich)
    assert browser.run("[...document.querySelectorAll('[role=tab]')].map(e => e.textContent).join()") == "Map,Groups,Timeline"
    browser.click("#tab-groups")
    assert browser.run("location.hash") == "#view=groups" and browser.run("document.querySelector('#map').hidden")
    assert browser.run(TILES) == 3  # those with q below 0.05
    browser.run("[...document.querySelectorAll('#groups .segments button')].find(e => e.textContent.startsWith('All')).click()")
    assert browser.run(TILES) == 5
    assert "fewer than 5" in browser.run("document.querySelector('#groups [data-tile=\\'3\\']').textContent")
    assert browser.run("document.querySelectorAll('#groups [data-tile=\\'0\\'] .range').length") == 3
    assert NASTY in browser.run("document.querySelector('#groups').textContent")
    browser.click("#tab-timeline")
    assert browser.run("document.querySelectorAll('#timeline .tile svg').length") == 5
    assert browser.run("document.querySelector('#timeline .tile .said').textContent").startswith("2006-04 (2005-04–2007-04): from 10.0% to 30.0%")
    x, y = browser.run("(() => { const b = document.querySelector('#timeline svg').getBoundingClientRect(); return [b.x + 3, b.y + b.height / 2]; })()")
    browser.mouse(x, y, click=False)
    assert browser.run("document.querySelector('#timeline .tile .said').textContent").startswith("2000: ")
    assert browser.run("window.broken === undefined")
    assert browser.complaints() == []


def test_tabs_by_keyboard_and_search_in_them(browser, rich):
    show(browser, rich, "#view=timeline")
    browser.run("document.querySelector('#tab-timeline').focus()")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", windowsVirtualKeyCode=39)
    assert browser.run("document.activeElement.id") == "tab-map" and not browser.run("document.querySelector('#map').hidden")
    show(browser, rich, "#view=groups&search=piano")
    assert browser.run(TILES) == 1
    browser.click("#groups .tile .chip")
    assert browser.run(HEADING) == "piano, opera, melody"
    assert browser.run("document.querySelectorAll('#panel .ranges').length") == 1 and browser.run("document.querySelectorAll('#panel .chart').length") == 1
    browser.press("Escape")
    browser.press("Escape")
    assert browser.run(TILES) == 3
    browser.click("#groups [data-tile='4'] .chip")
    browser.click("#panel .card")  # a document is shown on the map, wherever it is chosen
    browser.wait("!document.querySelector('#map').hidden && document.querySelector('#canvas').width > 300")
    assert browser.run("document.querySelectorAll('#panel .pinned').length") > 0
    assert browser.complaints() == []


def test_pictures_make_a_contact_sheet_and_come_with_the_pointer(browser, rich):
    show(browser, rich, "#topic=1")
    assert browser.run("document.querySelectorAll('#panel .sheet img').length") == 24
    browser.wait("[...document.images].every(e => e.complete && e.naturalWidth === 48)")
    browser.click("#panel .sheet button")
    assert browser.run("document.querySelectorAll('#panel .sheet .pinned').length") == 1
    box = browser.run("(() => { const b = document.querySelector('#canvas').getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    browser.mouse(*box, click=False)  # the chosen document is in the middle now
    browser.wait("document.querySelector('#tooltip img') !== null && !document.querySelector('#tooltip').hidden")
    assert browser.complaints() == []


def test_zoom_by_wheel_buttons_and_keys(browser, rich):
    show(browser, rich)
    inked = "document.querySelector('#canvas').toDataURL()"
    whole = browser.run(inked)
    box = browser.run("(() => { const b = document.querySelector('#canvas').getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=box[0], y=box[1], deltaX=0, deltaY=-500)
    browser.drawn()
    assert browser.run(inked) != whole
    browser.press("0")
    browser.drawn()
    browser.mouse(5, 5, click=False)
    browser.drawn()
    assert browser.run(inked) == whole
    browser.click("#closer")
    browser.drawn()
    assert browser.run(inked) != whole
    assert browser.complaints() == []


def test_views_fit_a_phone(tmp_path, rich):
    browser = Browser(tmp_path / "profile", width=390, height=844)
    try:
        for hash in ("#view=groups", "#view=timeline", "#view=groups&topic=2", "#topic=1"):
            show(browser, rich, hash)
            assert browser.run("document.documentElement.scrollWidth") <= 390
            assert browser.complaints() == []
    finally: browser.close()


def test_fifty_thousand_documents_are_drawn_once_a_frame_and_without_a_path_for_each(browser, tmp_path):
    "What makes the map fast is counted here, not timed: calls of the canvas's pen, which circles would need for every document. bench/report.py has the times."
    random = np.random.default_rng(0)
    topic = random.integers(0, 5, 50_000)
    page = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [4, 4]])[topic] + random.normal(size=(50_000, 2))
    topics = [dict(id=one, words=[(word, 1.) for word in words], size=int((topic == one).sum())) for one, words in enumerate(WORDS)]
    size = write_report(tmp_path / "many.html", title="Many", topics=topics, facts={}, documents=dict(x=page[:, 0], y=page[:, 1], topic=topic, text=["a text of some length that comes again and again " * 8] * 50_000), max_bytes=6_000_000)
    assert size <= 6_000_000
    browser.open((tmp_path / "many.html").as_uri(), "document.documentElement?.dataset.ready === 'yes'")
    assert "so that this file stays small" in browser.run("document.querySelector('#panel').textContent")
    frames, painted, calls = browser.run("""new Promise(done => { const canvas = document.querySelector('#canvas'), pen = CanvasRenderingContext2D.prototype; let i = 0, painted = 0, calls = 0;
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(pen))) if (typeof value === 'function' && name !== 'constructor')
        pen[name] = function (...given) { calls++; painted += name === 'putImageData'; return value.apply(this, given); };
      const zoom = by => canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: by, clientX: 700, clientY: 400, cancelable: true }));
      const step = () => { for (let event = 0; event < 5; event++) zoom(i % 20 < 10 ? -8 : 8); if (++i < 30) requestAnimationFrame(step); else requestAnimationFrame(() => requestAnimationFrame(() => done([i, painted, calls]))); };
      requestAnimationFrame(() => requestAnimationFrame(step)); })""")
    assert frames - 2 <= painted <= frames + 1                     # five moves of the wheel in a frame are one picture
    assert calls <= 50 * painted                                   # nothing for each document
    assert browser.complaints() == []

"""The report in a real browser: opened from a file, without a network, with mouse and keyboard.

The browser is driven through its DevTools protocol over a pair of pipes, so nothing but a Chromium binary is needed.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from saetm.figures import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome binary found; on Debian: apt-get install chromium")
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
         "--disable-sync --disable-extensions --hide-scrollbars --remote-debugging-pipe").split()
# The protocol wants its pipes as descriptors 3 and 4: move ours there, over numbers that are out of the way, and become the browser.
MOVE = ("import os, sys; a, b = (os.dup2(int(fd), at) for fd, at in zip(sys.argv[1:3], (90, 91))); "
        "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])")
NASTY = "</script><script>window.broken=1</script><img src=x onerror=\"window.broken=1\"> 'quoted' & \"double\""
KEYS = {"Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Tab": 9, "/": 191}


class Browser:
    "A headless browser with one page; `events` collects what it reports."

    def __init__(self, folder, width=1400, height=900, dark=False):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.process = subprocess.Popen([sys.executable, "-c", MOVE, str(theirs_in), str(theirs_out), CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"], pass_fds=(theirs_in, theirs_out),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in), os.close(theirs_out)
        self.input, self.output = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb", buffering=0)
        self.count, self.events, self.session, self.rest = 0, [], None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"): self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [dict(name="prefers-color-scheme", value="dark" if dark else "light"), dict(name="prefers-reduced-motion", value="reduce")]
        self.call("Emulation.setEmulatedMedia", features=features)

    def message(self):
        while b"\0" not in self.rest:
            part = os.read(self.input.fileno(), 1 << 16)
            if not part: raise RuntimeError("the browser closed its pipe")
            self.rest += part
        first, self.rest = self.rest.split(b"\0", 1)
        return json.loads(first)

    def call(self, method, **params):
        self.count += 1
        request = dict(id=self.count, method=method, params=params) | ({"sessionId": self.session} if self.session else {})
        self.output.write(json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.count:
                if "error" in answer: raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer: raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, script, seconds=20):
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end: raise TimeoutError(f"never true: {script}")
            time.sleep(.05)

    def open(self, path, hash=""):
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + hash)
        self.wait("document.documentElement?.dataset.ready === 'yes'")
        self.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def mouse(self, x, y, click=True):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def click(self, selector):
        box = self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'nearest'}});"
                       " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        self.mouse(*box)

    def press(self, key):
        code = dict(key=key, windowsVirtualKeyCode=KEYS[key]) | (dict(text="\r") if key == "Enter" else dict(text=key) if len(key) == 1 else {})
        for kind in ("keyDown", "keyUp"): self.call("Input.dispatchKeyEvent", type=kind, **code)

    def type(self, text): self.call("Input.insertText", text=text)

    def picture(self, path): path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self):
        "Return errors and warnings of the console, exceptions, and requests that leave the file."
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown": found.append(params["exceptionDetails"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"): found.append(params["args"])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"): found.append(params["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "about:", "data:")): found.append(params["request"]["url"])
        return found

    def close(self):
        self.output.close()
        try: self.process.wait(10)
        except subprocess.TimeoutExpired: self.process.kill(), self.process.wait()
        self.input.close()


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


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


ROWS = "document.querySelectorAll('#topics .row').length"
HEADING = "document.querySelector('#panel h2').textContent"


def test_opens_without_complaint_and_lists_all_topics(browser, report):
    browser.open(report)
    assert browser.run(ROWS) == 5
    assert browser.run("document.querySelector('#summary').textContent") == "200 documents · 5 topics"
    assert browser.complaints() == []
    assert sum(event.get("method") == "Network.requestWillBeSent" for event in browser.events) <= 2  # the blank page and the file itself


def test_documents_full_of_markup_stay_text(browser, report):
    browser.open(report, "#topic=0")
    assert browser.run("window.broken === undefined && document.images.length === 0 && document.scripts.length === 2")
    assert browser.run(HEADING) == NASTY
    assert NASTY in browser.run("document.querySelector('#panel').textContent")
    assert browser.run("document.title").startswith("Report </script>")
    assert browser.complaints() == []


def test_search_filters_topics_and_documents(browser, report):
    browser.open(report, "#search=piano")
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
    browser.open(report)
    browser.click("#topics [data-topic='2']")
    assert browser.run(HEADING) == "cell, gene, protein"
    assert browser.run("location.hash") == "#topic=2"
    assert browser.run("document.querySelectorAll('#topics [aria-pressed=true]').length") == 1
    browser.press("Escape")
    assert browser.run(HEADING) == "Overview"
    assert browser.run("location.hash") == ""


def test_dots_show_their_text_and_select_their_topic(browser, report):
    browser.open(report)
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
    browser.open(report, "#sort=name")
    names = browser.run("[...document.querySelectorAll('#topics .name')].map(e => e.textContent)")
    assert names[1:] == ["café, bread, wine", "cell, gene, protein", "goal, match, league", "piano, opera, melody"]
    browser.click("[data-sort='name']")
    assert browser.run("document.querySelector('#topics .name').textContent") == "piano, opera, melody"
    browser.click("[data-sort='related']")
    assert browser.run("[...document.querySelectorAll('#topics .row')].map(e => e.dataset.topic).join()") in ("4,0,1,2,3", "0,1,2,3,4")
    assert browser.run("document.querySelectorAll('#tree path').length") == 1


def test_keyboard_alone_reaches_a_topic(browser, report):
    browser.open(report)
    browser.press("/")
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    browser.press("Enter")
    assert browser.run(HEADING) == "piano, opera, melody"
    assert browser.run("document.activeElement.dataset.topic") == "1"


def test_follows_the_theme_of_the_system_and_the_button(tmp_path, report):
    browser = Browser(tmp_path / "profile", dark=True)
    try:
        browser.open(report)
        assert browser.run("document.documentElement.dataset.theme") == "dark"
        browser.click("#theme")
        assert browser.run("document.documentElement.dataset.theme") == "light"
        assert browser.run("location.hash") == "#theme=light"
    finally: browser.close()


def test_fits_a_phone(tmp_path, report):
    browser = Browser(tmp_path / "profile", width=390, height=844)
    try:
        for hash in ("", "#topic=0", "#search=space"):
            browser.open(report, hash)
            assert browser.run("document.documentElement.scrollWidth") <= 390
            assert browser.complaints() == []
    finally: browser.close()

"""The site in a real browser, page by page: as a reader with a laptop, with a phone, and in the dark.

The pages are those in `_docs`; where they are missing or older than what they are made of, `tools/site.sh` makes them first.
"""
import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from browser import Browser

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_docs"
sys.path.insert(0, str(ROOT / "tools"))
from check_links import check  # noqa: E402
from pages import notebooks, page_name  # noqa: E402

PAGES = [page_name(path) for path in notebooks()]
LAPTOP, PHONE = (1280, 900), (390, 844)
SEARCHES = [("perplexity", "emission"), ("vocabulary", "corpus"), ("dead features", "training")]

# Text that is seen and is neither code nor maths that was drawn, with the element that holds it.
TEXTS = """function texts() {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node; node = walk.nextNode();) {
    const holder = node.parentElement;
    if (node.data.trim() && holder.checkVisibility({visibilityProperty: true}) && !holder.closest('pre, code, script, style, .katex, .sourceCode')) found.push([node.data, holder]);
  }
  return found;
}"""
RAW = r"""(() => { %s
  const raw = /\$\$|\\(?:frac|sum|theta|text|mathbb|mathrm|log|left|lVert|big|begin)\b|\\[()\[\]]|@(?:fig|eq|tbl|sec)-|\?@|\{#|^:::|\]\([\w.#\/-]+\)|(?:^|\s)\*\*\w/;
  return texts().map(([text]) => text.trim()).filter(text => raw.test(text));
})()""" % TEXTS
BROKEN_MATHS = "document.querySelectorAll('.katex-error, .katex [style*=\"#cc0000\"]').length"
BROKEN_IMAGES = "[...document.images].filter(e => !e.complete || !e.naturalWidth).map(e => e.src.slice(0, 80))"
# What sticks out of the page, or of a box that hides it, without a box of its own in which it scrolls.
CUT_OFF = """(() => {
  const found = [], width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width + 1 || innerWidth > screen.width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const e of document.querySelectorAll('body *')) {
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height || (box.right <= width + 1 && box.left >= -1) || !e.checkVisibility({visibilityProperty: true}) || e.closest('#quarto-sidebar, .katex-mathml, svg')) continue;
    let up = e;
    while (up && !['auto', 'scroll'].includes(getComputedStyle(up).overflowX)) up = up.parentElement;
    const frame = up && up.getBoundingClientRect();
    if (!frame || frame.right > width + 1 || frame.left < -1) found.push(`${e.tagName} ${e.className} ${Math.round(box.left)}..${Math.round(box.right)} ${e.textContent.trim().slice(0, 40)}`);
  }
  return found.slice(0, 5);
})()"""
# Code that sticks out of its box, or that would be copied otherwise than it was written.
CODE = """[...document.querySelectorAll('pre > code.sourceCode')].filter(code => code.innerText !== code.textContent || code.parentElement.scrollWidth > code.parentElement.clientWidth + 1)
  .map(code => code.textContent.slice(0, 80))"""
# Contrast of text against what lies behind it, by the formula of WCAG 2; large or bold text may have less.
PALE = """(() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = value => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = value; paint.fillRect(0, 0, 1, 1); const d = paint.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
  const over = (top, below, alpha = top[3]) => [0, 1, 2].map(i => top[i] * alpha + below[i] * (1 - alpha));
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { if (!e) return [255, 255, 255]; const own = colour(getComputedStyle(e).backgroundColor); return own[3] === 1 ? own : over(own, behind(e.parentElement)); };
  const seen = new Set(), found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const e = node.parentElement;
    if (!node.data.trim() || seen.has(e) || !e.checkVisibility({visibilityProperty: true}) || e.closest('script, style, .katex-mathml, svg')) continue;
    seen.add(e);
    let opacity = 1;
    for (let up = e; up; up = up.parentElement) opacity *= +getComputedStyle(up).opacity;
    if (!opacity) continue;
    const style = getComputedStyle(e), ground = behind(e), ink = colour(style.color);
    const [a, b] = [light(over(ink, ground, ink[3] * opacity)), light(ground)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.5 && +style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${e.tagName}.${e.className} ${style.color} "${node.data.trim().slice(0, 30)}"`);
  }
  return found.slice(0, 8);
})()"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    "Serves files and remembers which requests failed."

    def log_request(self, code="-", size="-"):
        if int(code) >= 400: self.server.failed.append(f"{int(code)} {self.path}")

    def log_message(self, *_): pass


def newest(patterns):
    return max((path.stat().st_mtime for pattern in patterns for path in ROOT.glob(pattern)), default=0)


@pytest.fixture(scope="session")
def site():
    "Build the pages if need be, and serve them."
    made = SITE / "index.html"
    if not made.exists() or made.stat().st_mtime < newest(["nbs/*.ipynb", "nbs/images/*", "results/*.npz", "saetm/templates/*", "tools/*.py", "tools/site.sh", "*.yml", "styles.css", "settings.ini", "saetm/*.py"]):
        done = subprocess.run(["bash", "tools/site.sh"], cwd=ROOT, env={**os.environ, "BIN": str(Path(sys.executable).parent)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.stdout.startswith("no site:"): pytest.skip(done.stdout.strip())
        assert done.returncode == 0, done.stdout
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    server.failed = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}/"
    yield server
    server.shutdown(), server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def reader(browser, site):
    "A browser with nothing remembered: `visit(page, size)` opens a page and says what the browser complains of."
    def visit(page, size=LAPTOP, dark=False):
        browser.window(*size)
        browser.theme(dark)
        browser.open(f"{site.address}docs/{page}.html")
        browser.wait("[...document.images].every(e => e.complete)")
        return browser.complaints((site.address,)) + site.failed
    site.failed.clear()
    browser.visit = visit
    yield browser
    browser.run("localStorage.clear()")


def test_every_address_leads_somewhere(site):
    wrong, n_pages, n_addresses = check(SITE)
    assert wrong == [] and n_pages > len(PAGES) and n_addresses > 20 * len(PAGES)


def test_the_root_leads_to_the_overview(reader, site):
    reader.open(site.address, "location.pathname.endsWith('docs/index.html') && document.readyState === 'complete'")
    assert reader.run("document.title") == "saetm"


@pytest.mark.parametrize("size, dark", [(LAPTOP, False), (PHONE, True)], ids=["laptop", "phone-at-night"])
@pytest.mark.parametrize("page", PAGES)
def test_page(reader, page, size, dark):
    assert reader.visit(page, size, dark) == []
    reader.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert reader.run(RAW) == []
    assert reader.run(BROKEN_MATHS) == 0
    assert reader.run(BROKEN_IMAGES) == []
    assert reader.run(CUT_OFF) == []
    assert reader.run(CODE) == []
    reader.wait(f"document.documentElement.classList.contains('quarto-dark') === {str(dark).lower()}")
    assert (sum(map(int, re.findall(r"\d+", reader.run("getComputedStyle(document.body).backgroundColor"))[:3])) < 200) is dark
    assert reader.run(PALE) == []
    assert reader.run("document.querySelectorAll('main h1').length") == 1
    if page != "index": assert "What to read next" in reader.run("[...document.querySelectorAll('main h2')].map(e => e.textContent.replace('#', '')).join('|')")


def test_the_report_of_the_demo_is_a_live_example(reader, site):
    assert reader.visit("demo_report") == []
    reader.wait("document.documentElement.dataset.ready === 'yes'")
    assert reader.run("document.querySelector('#summary').textContent") == "10,033 documents · 50 topics"
    reader.click("#topics [data-topic='0']")
    assert reader.run("document.querySelector('#panel h2').textContent.length") > 5
    for page in ("index", "report"):
        reader.visit(page)
        assert reader.run("document.querySelectorAll('main a[href=\"demo_report.html\"]').length") > 0


def test_the_theme_button_turns_the_page_dark_and_the_next_page_remembers(reader):
    reader.visit("index")
    reader.click(".quarto-color-scheme-toggle")
    reader.wait("document.documentElement.classList.contains('quarto-dark')")
    reader.visit("merging")
    reader.wait("document.documentElement.classList.contains('quarto-dark')")


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize("term, page", SEARCHES)
def test_search_finds_a_term_and_leads_to_its_page(reader, site, term, page, size):
    reader.visit("index", size)
    if size is PHONE: open_menu(reader)
    reader.click("#quarto-search input")
    reader.type(term)
    reader.wait("document.querySelectorAll('.search-result').length > 0")
    found = reader.run("[...document.querySelectorAll('.search-result')].map(e => new URL(e.href).pathname)")
    assert f"/docs/{page}.html" in found
    assert reader.run("(() => { const e = document.querySelector('.search-result'), b = e.getBoundingClientRect();"
                      " return [b.left + 3, b.right - 3].every(x => e.contains(document.elementFromPoint(x, b.y + b.height / 2))); })()")  # seen in full
    reader.events.clear()
    reader.click(f".search-result[href*='docs/{page}.html']")
    reader.wait(f"location.pathname === '/docs/{page}.html' && document.readyState === 'complete'")
    assert term in reader.run("document.querySelector('main').textContent.toLowerCase().replace(/\\s+/g, ' ')")
    assert reader.complaints((site.address,)) == []


def test_search_for_what_is_nowhere_says_so(reader):
    reader.visit("index")
    reader.press("/")
    reader.type("qqqqzzzz")
    reader.wait("document.querySelector('.search-none')?.textContent === 'No results'")


MENU = "document.querySelector('#quarto-sidebar').getBoundingClientRect()"
OPEN = f"({MENU}.width > 100 && {MENU}.left >= 0 && document.querySelector('#quarto-sidebar').checkVisibility())"


def open_menu(reader):
    assert not reader.run(OPEN)
    reader.click(".quarto-btn-toggle")
    reader.wait(OPEN)
    reader.drawn()


def test_the_menu_of_a_phone_opens_leads_to_a_page_and_closes(reader, site):
    reader.visit("index", PHONE)
    open_menu(reader)
    link = "#quarto-sidebar a[href='emission.html']"
    assert reader.run(f"(() => {{ const e = document.querySelector(\"{link}\"); e.scrollIntoView({{block: 'nearest'}}); const b = e.getBoundingClientRect();"
                      " return e.contains(document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2)); })()")  # nothing lies over it
    reader.click(link)
    reader.wait("location.pathname === '/docs/emission.html' && document.readyState === 'complete'")
    reader.wait(f"!{OPEN}")
    assert reader.complaints((site.address,)) == []
    open_menu(reader)
    reader.click(".quarto-btn-toggle")
    reader.wait(f"!{OPEN}")


def test_the_menu_lists_all_pages_in_order_and_marks_this_one(reader):
    reader.visit("merging")
    assert reader.run("[...document.querySelectorAll('#quarto-sidebar .sidebar-menu-container a[href$=\".html\"]')].map(e => e.getAttribute('href').replace('.html', ''))") == PAGES
    assert reader.run("document.querySelector('#quarto-sidebar [aria-current=page]').getAttribute('href')") == "merging.html"
    assert reader.run("[...document.querySelectorAll('.page-navigation a')].map(e => e.getAttribute('href').replace('.html', ''))") == [PAGES[PAGES.index("merging") + step] for step in (-1, 1)]

#!/usr/bin/env python3
"""Check a built site: every address leads to a file and an anchor in it, nothing is loaded from another host.

Also fails on maths, references and links that were left as they are typed, and on pages no menu leads to.
"""
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src"), ("embed", "src"), ("object", "data")}
LEFT = [(r"\$\$", "$$"), (r"(?<![\w\\])\$[^\s$\d][^$]{0,80}[\\_^{][^$]{0,80}\$", "maths"), (r"(?<!\w)@(?:fig|tbl|eq|sec)-\w", "a reference"), (r"\{#(?:fig|tbl|eq|sec)-", "a label"), (r"\]\([\w./#-]+\)", "a link"), (r"^:::", "a fence")]


class Page(HTMLParser):
    "What a page defines, points at, loads, and says."

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.text, self.code = set(), [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(value for name, value in values.items() if name in ("id", "name") and value)
        self.code += tag in ("pre", "code", "script", "style")
        if tag == "link":
            kind = (values.get("rel") or "").split()
            (self.links if kind == ["canonical"] else self.loads).append(values.get("href") or "")
        for name in ("href", "src", "data"):
            if values.get(name) and tag != "link":
                (self.loads if (tag, name) in LOADS else self.links if name != "data" else []).append(values[name])

    def handle_endtag(self, tag):
        self.code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data):
        if not self.code:
            self.text.append(data)


def problem(site, path, address, pages):
    "Return why an address of the page at `path` leads nowhere, or None."
    parts = urlsplit(address)
    if parts.scheme or address.startswith("//"):
        return None
    if parts.path.startswith("/"):
        return "starts at the root of the host, so it breaks when the site is moved"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    target = target / "index.html" if target.is_dir() else target
    if site.resolve() not in target.parents or not target.is_file():
        return "no such file"
    fragment = unquote(parts.fragment)
    if fragment and target in pages and fragment not in pages[target].ids:
        return "no such anchor"


def check(site):
    "Return the list of what is wrong with the site."
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    wrong, reached = [], {(site / "index.html").resolve()}
    for path, page in sorted(pages.items()):
        name = path.relative_to(site.resolve()).as_posix()
        for address in page.links + page.loads:
            reason = problem(site, path, address, pages)
            wrong += [f"{name}: {address}: {reason}"] if reason else []
            reached.add((path.parent / unquote(urlsplit(address).path)).resolve())
        wrong += [f"{name}: loads {address}" for address in page.loads if re.match(r"(https?:)?//", address)]
        for line in "".join(page.text).splitlines():
            wrong += [f"{name}: {what} was left as typed: {line.strip()[:100]}" for pattern, what in LEFT if re.search(pattern, line)]
    wrong += [f"{path.name}: no link leads here" for path in pages if path not in reached]
    for path in site.rglob("*.css"):
        for address in re.findall(r"url\([\"']?([^)\"']+)", path.read_text(encoding="utf-8")):
            if re.match(r"(https?:)?//", address):
                wrong.append(f"{path.relative_to(site)}: loads {address}")
            elif not address.startswith(("data:", "#")) and not (path.parent / unquote(urlsplit(address).path)).exists():
                wrong.append(f"{path.relative_to(site)}: {address}: no such file")
    return sorted(set(wrong)), len(pages), sum(len(page.links) + len(page.loads) for page in pages.values())


def main():
    "Check the folder named on the command line, _docs unless given."
    site = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "_docs")
    wrong, n_pages, n_links = check(site)
    if not n_pages:
        wrong = [f"{site}: no pages"]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"site: {n_pages} pages, {n_links} addresses, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

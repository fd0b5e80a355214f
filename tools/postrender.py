#!/usr/bin/env python3
"""Finish the site: a page at its root, long lines of code that go on below, and KaTeX inside it, so that it makes no request to another host."""
import html
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KATEX = "0.16.11"
CODE = re.compile(r'(<code class="sourceCode[^"]*">)(.*?)(</code>)', re.DOTALL)
CDN = f"https://cdn.jsdelivr.net/npm/katex@{KATEX}/dist"
FRONT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>saetm</title>
<meta http-equiv="refresh" content="0; url=docs/index.html"><link rel="canonical" href="docs/index.html"></head>
<body><p><a href="docs/index.html">saetm</a></p></body></html>
"""


def katex():
    "Return the folder that holds KaTeX, fetched once with npm."
    home = Path(sys.prefix) if sys.prefix != sys.base_prefix else ROOT / "build"
    folder = home / f"katex-{KATEX}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if not npm:
        sys.exit("the site needs npm once, to fetch KaTeX (Debian: apt-get install npm)")
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as work:
        subprocess.run([npm, "pack", f"katex@{KATEX}", "--silent"], cwd=work, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(work).glob("katex-*.tgz"))) as archive:
            for member in archive.getmembers():
                name = member.name.removeprefix("package/")
                wanted = re.fullmatch(r"dist/(katex\.min\.(css|js)|contrib/auto-render\.min\.js|fonts/\w+(-\w+)?\.woff2)", name) or name == "LICENSE"
                if wanted and member.isfile():
                    target = Path(work) / "ready" / name.removeprefix("dist/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
        css = Path(work) / "ready" / "katex.min.css"
        css.write_text(re.sub(r",url\([^)]*\.(?:woff|ttf)\) format\(\"(?:woff|truetype)\"\)", "", css.read_text()), encoding="utf-8")
        os.replace(Path(work) / "ready", folder)
    return folder


def long_lines(code, most=60, deepest=24):
    "Mark the lines of highlighted code that have more letters than a phone is wide, with how far in they begin; no tag reaches over the end of a line."
    lines, opened = [], []
    for line in code.split("\n"):
        before = "".join(opened)
        for tag in re.findall(r"<[^>]+>", line):
            if tag.startswith("</"): opened.pop()
            else: opened.append(tag)
        text = html.unescape(re.sub(r"<[^>]+>", "", line))
        line = before + line + "".join(f"</{re.match(r'<([a-z]+)', tag)[1]}>" for tag in reversed(opened))
        indent = len(text) - len(text.lstrip())
        lines.append(f'<span class="long" style="--in:{indent}ch">{line}</span>' if len(text) > most and indent <= deepest else line)
    return "\n".join(lines)


def main():
    "Finish _docs."
    site = ROOT / os.environ.get("QUARTO_PROJECT_OUTPUT_DIR", "_docs")
    (site / "index.html").write_text(FRONT, encoding="utf-8")
    (site / ".nojekyll").write_text("", encoding="utf-8")
    if not os.environ.get("SMALLDOCS"):
        return
    shutil.copytree(katex(), site / "site_libs" / "katex", dirs_exist_ok=True)
    for sheet in site.rglob("*.css"):  # a theme may ask for a web font: the fonts of the machine do
        text = sheet.read_text(encoding="utf-8")
        local = re.sub(r"""@import\s*(?:url\(\s*["']?https?:[^)]*\)|"https?:[^"]*"|'https?:[^']*')[^;]*;""", "", text)
        if local != text:
            sheet.write_text(local, encoding="utf-8")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        up = "../" * len(page.relative_to(site).parent.parts)
        finished = CODE.sub(lambda found: found[1] + long_lines(found[2]) + found[3], text).replace(CDN, f"{up}site_libs/katex")
        if finished != text:
            page.write_text(finished, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

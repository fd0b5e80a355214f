#!/usr/bin/env python3
"""Make the pages' sources, docs/*.ipynb, from the notebooks in nbs/.

Runs nbdev's processors (documentation of each function, links to names, hidden cells) with the module that the
notebook exports; no cell is run, the saved outputs are shown. Pages lose the number of their notebook, and links between them become relative. Where the
renderer is smalldocs, figures, tables and equations are numbered here; an unknown label stops the build.
"""
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import demo_report  # noqa: E402
from crossref import UnknownLabel, number  # noqa: E402
from pages import ROOT, notebooks, page_name, write_sidebar  # noqa: E402
from reference import reference  # noqa: E402
from run_notebooks import QUIET  # noqa: E402

DOCS = ROOT / "docs"
KINDS = "smalldocs" if os.environ.get("SMALLDOCS") else "quarto"


def exported(notebook):
    "Return the name of the module a notebook exports, or None."
    found = re.search(r"^#\| *default_exp +(\S+)", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"), re.MULTILINE)
    return found and found[1]


def split_title(notebook):
    "Give the text under the title and its summary a cell of its own, since the title's cell becomes front matter."
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown" or not re.search(r"^# ", cell.source, re.MULTILINE):
            continue
        head = re.match(r"\s*# .+\n*(?:>.*(?:\n|$))*", cell.source)
        rest = cell.source[head.end():].strip() if head else ""
        if rest:
            from execnb.nbio import mk_cell
            summary = " ".join(re.findall(r"^> ?(.*)$", head.group(0), re.MULTILINE))
            cell.source = head.group(0).split("\n")[0] + (f"\n\n> {summary}" if summary else "")
            notebook.cells.insert(i + 1, mk_cell(rest, "markdown"))
        return


def relative_links(text, base):
    "Turn links to notebooks, and absolute links to this site, into links to the pages beside this one."
    text = re.sub(r"\[(\[`[^`\n]+`\]\([^)\s]*\))\]\([^)\s]*\)", r"\1", text)  # a name in a link of its own was linked again
    text = text.replace(base + "/", "")
    text = re.sub(r"\]\((?:\./)?([\w-]+)\.ipynb(#[^)\s]*)?\)", lambda m: f"]({page_name(m[1])}.ipynb{m[2] or ''})", text)
    pages = {page_name(path) for path in notebooks()}
    return re.sub(r"\]\((\w+)\.html(#[^)\s]*)?\)", lambda m: f"]({m[1]}.ipynb{m[2] or ''})" if m[1] in pages else m[0], text)


def without_source_links(text):
    "Drop the line that nbdev puts above a signature to point at a repository on the web."
    text = re.sub(r"^\[source\]\(\S*\)(?:\{[^}\n]*\})?\n*", "", text, flags=re.MULTILINE)
    return re.sub(r"^---\n+(?=###)", "", text)


def unlink_code(text):
    "Undo links inside fenced code, where Markdown would show them as they are typed."
    undo = lambda match: re.sub(r"\[(`[^`\n]+`)\]\([^)\s]*\)", r"\1", match.group(0))
    return re.sub(r"^```.*?^```", undo, text, flags=re.MULTILINE | re.DOTALL)


def documents(cell):
    "Return the name that a cell made by nbdev documents, or None."
    texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in cell.get("outputs", [])] if cell.get("has_sd") else []
    found = re.search(r"^### +([\w.]+)", "\n".join(texts), re.MULTILINE)
    return found and found[1]


def show_source_once(cells):
    "Where the source of a function is shown, keep of its documentation only the heading; of a second one in the same cell only the name."
    gone = []
    for i, (documentation, source) in enumerate(zip(cells, cells[1:])):
        if '#| code-summary: "Exported source"' not in "".join(source["source"]):
            continue
        source["source"] = re.sub(r"^#\| code-(fold|summary):.*\n", "", "".join(source["source"]), flags=re.MULTILINE)
        if not documents(documentation):
            continue
        shown, also = re.findall(r"^(?:def|class) (\w+)", source["source"], re.MULTILINE), []
        for other in cells[i + 2:]:
            name = documents(other)
            if not name or name.split(".")[-1] not in shown:
                break
            also.append(name)
            gone.append(id(other))
        for output in documentation["outputs"]:
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = re.search(r"^###.*$", "".join(data["text/markdown"]), re.MULTILINE).group(0)
                if also:
                    names = ", ".join(f'<code id="{name.lower()}">{name.replace("_", "&#95;")}</code>' for name in also[::-1])
                    data["text/markdown"] += f'\n\n<p class="also">with {names}</p>'
    cells[:] = [cell for cell in cells if id(cell) not in gone]


def name_headings(text):
    "Give the heading above a documented function a class of its own, for the style sheet."
    return re.sub(r"^(### +[\w.]+) *$", r"\1 {.function}", text, flags=re.MULTILINE)


def rewrite(notebook, base):
    "Mend what nbdev's processors leave: absolute links, links in code, a doubled signature."
    notebook["cells"] = [cell for cell in notebook["cells"] if not "".join(cell["source"]).startswith("<!-- WARNING: THIS FILE WAS AUTOGENERATED")]
    show_source_once(notebook["cells"])
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "raw":
            source = re.sub(r"^output-file:.*\n", "", source, flags=re.MULTILINE)
        if cell["cell_type"] == "markdown":
            source = relative_links(source, base)
        cell["source"] = source
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = relative_links(name_headings(unlink_code(without_source_links("".join(data["text/markdown"])))), base)


def add_reference(page, module):
    "Put the reference to a module in front of the page's last section, What to read next."
    shown = "\n".join("".join(output.get("data", {}).get("text/markdown", "")) for cell in page["cells"] for output in cell.get("outputs", []))
    text = reference(module.read_text(encoding="utf-8"), {name.lower() for name in re.findall(r'^### +([\w.]+)|<code id="([\w.]+)"', shown, re.MULTILINE) for name in name})
    last = [i for i, cell in enumerate(page["cells"]) if cell["cell_type"] == "markdown" and re.search(r"^## What to read next", "".join(cell["source"]), re.MULTILINE)]
    if text:
        page["cells"].insert(last[-1] if last else len(page["cells"]), dict(cell_type="markdown", id="reference", metadata={}, source=text))


def processors():
    "Return nbdev's processors, with one that documents the exported module in place of the one that runs cells."
    from execnb.shell import CaptureShell
    from nbdev.process import Processor
    from nbdev.processors import FilterDefaults, exec_show_docs

    class Documentation(Processor):
        def begin(self):
            found = exported(self.nb)
            self.shell = CaptureShell()
            self.shell.run_cell("from nbdev.showdoc import show_doc\n" + (f"from saetm.{found} import *" if found else ""))

        def __call__(self, cell):
            if cell.cell_type == "code" and re.search(r"^show_doc\(", cell.source or "", re.MULTILINE):
                self.shell.cell(cell)
                if isinstance(self.shell.exc, NameError):  # an annotation in quotes names what the module imports only where it is used
                    name = re.search(r"^show_doc\((\w+)", cell.source, re.MULTILINE)[1]
                    self.shell.run_cell(f"{name}.__annotations__ = {{key: value for key, value in {name}.__annotations__.items() if not isinstance(value, str)}}")
                    self.shell.cell(cell)
                if self.shell.exc:
                    raise self.shell.exc

    class Filters(FilterDefaults):
        def base_procs(self):
            return [Documentation if proc is exec_show_docs else proc for proc in super().base_procs()]

    return Filters()


def process(path):
    "Write the page of one notebook and return what went wrong, or None."
    os.environ.update(QUIET, IN_TEST="1")
    os.chdir(ROOT / "nbs")
    sys.path.insert(0, str(ROOT))
    from execnb.nbio import nb2dict, read_nb
    from nbdev.config import get_config

    settings = get_config()
    notebook = read_nb(path)
    module = exported(notebook)
    split_title(notebook)
    try:
        processors()(notebook)
        page = nb2dict(notebook)
        rewrite(page, settings.doc_host + settings.doc_baseurl)
        if module:
            add_reference(page, ROOT / "saetm" / f"{module.replace(chr(46), chr(47))}.py")
        if KINDS == "smalldocs":
            number(page, path.name)
    except UnknownLabel as error:
        return str(error)
    except Exception as error:  # a cell of the notebook failed: say which notebook
        return f"{path.name}: {type(error).__name__}: {error}"
    destination = DOCS / f"{page_name(path)}.ipynb"
    temporary = destination.with_suffix(".tmp")
    temporary.write_text(json.dumps(page, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, destination)


def stamp(path):
    "Return a digest of everything a page depends on: its notebook or data, the package, these scripts, the renderer."
    parts = [path, *sorted((ROOT / "saetm" / "templates").glob("*")), ROOT / "settings.ini", ROOT / "saetm" / "_modidx.py", *sorted((ROOT / "tools").glob("*.py")), *sorted((ROOT / "saetm").rglob("*.py"))]
    digest = hashlib.sha256(KINDS.encode())
    for part in parts:
        digest.update(part.read_bytes() if part.exists() else b"")
    return digest.hexdigest()


def main():
    "Bring docs/ up to date."
    write_sidebar()
    DOCS.mkdir(exist_ok=True)
    wanted = notebooks()
    names = [page_name(path) for path in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"two notebooks make the page {twice[0]}: rename one"
    for old in DOCS.glob("*.ipynb"):
        if old.stem not in names:
            old.unlink()
    record = DOCS / "stamps.json"
    stamps = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    now = {path.name: stamp(path) for path in wanted}
    stale = [path for path in wanted if now[path.name] != stamps.get(path.name) or not (DOCS / f"{page_name(path)}.ipynb").exists()]
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        errors = [error for error in pool.map(process, stale, chunksize=1) if error]
    if errors:
        return "\n".join(errors)
    shutil.copytree(ROOT / "nbs" / "images", DOCS / "images", dirs_exist_ok=True)
    now["demo_report"] = stamp(demo_report.KEPT)
    if now["demo_report"] != stamps.get("demo_report") or not (DOCS / "demo_report.html").exists():
        demo_report.write(DOCS / "demo_report.html")
    record.write_text(json.dumps(now, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

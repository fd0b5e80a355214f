#!/usr/bin/env python3
"""Write README.md from nbs/index.ipynb: hidden cells left out, directives removed, saved outputs shown.

`--check` writes nothing and fails when README.md is not what the notebook says.
"""
import difflib
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pages import ROOT, notebooks, page_name  # noqa: E402


def readme():
    "Return the text of README.md."
    os.environ["IN_TEST"] = "1"
    os.chdir(ROOT)
    from execnb.nbio import nb2dict, read_nb
    from nbconvert import MarkdownExporter
    from nbdev.config import get_config
    from nbdev.processors import FilterDefaults
    from nbformat import from_dict

    notebook = read_nb(ROOT / "nbs" / "index.ipynb")
    FilterDefaults()(notebook)
    plain = nb2dict(notebook)
    front, plain["cells"] = plain["cells"][0]["source"], plain["cells"][1:]
    plain["cells"] = [cell for cell in plain["cells"] if not "".join(cell["source"]).startswith("<!-- WARNING")]
    plain["metadata"]["language_info"] = {"name": "python"}
    for cell in plain["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            if re.search(r"^#\| *echo: *false", cell["source"], flags=re.MULTILINE):
                cell["metadata"]["transient"] = {"remove_source": True}
            cell["source"] = re.sub(r"^#\|.*\n", "", cell["source"], flags=re.MULTILINE)
            for output in cell["outputs"]:
                output.setdefault("metadata", {})
                without_html(output.get("data", {}))
                output["data" if "data" in output else "text"] = joined(output.get("data", output.get("text")))
    body, resources = MarkdownExporter().from_notebook_node(from_dict(plain))
    if resources.get("outputs"):
        raise SystemExit("index.ipynb has pictures among its outputs; README.md can show text and tables alone")
    head = "".join(f"{mark} {value}\n\n" for mark, value in zip("#>", title(front)))
    text = head + "\n".join(line.rstrip() for line in body.strip().splitlines()) + "\n"
    text = re.sub(r"\[(\[`[^`\n]+`\]\([^)\s]*\))\]\([^)\s]*\)", r"\1", text)  # a name in a link of its own was linked again
    settings = get_config()
    base = settings.doc_host + settings.doc_baseurl + "/"
    pages = {page_name(path): path.name for path in notebooks()}
    text = re.sub(re.escape(base) + r"(\w+)\.html(?:#[\w.]+)?", lambda match: f"nbs/{pages[match[1]]}", text)
    text = re.sub(r"\[([^\]\n]*)\]\(\w+\.html\)", r"\1", text)  # what only the site has
    text = re.sub(r"\]\((\w+\.ipynb|images/)", r"](nbs/\1", text)
    return re.sub(r"\n{3,}", "\n\n", text)


def title(front):
    "Return the title and the summary that nbdev moved into the front matter."
    import yaml

    fields = yaml.safe_load("".join(front).strip().strip("-"))
    return fields["title"], fields["description"]


def joined(text):
    "Join the lines that a notebook file stores one by one."
    if isinstance(text, dict):
        return {kind: joined(value) for kind, value in text.items()}
    return "".join(text) if isinstance(text, list) else text


def without_html(data):
    "Show a table as text where the notebook stores both: a README has no style sheet."
    if "text/html" in data and "text/plain" in data:
        del data["text/html"]


def main():
    "Write or check README.md."
    path, text = ROOT / "README.md", readme()
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if "--check" not in sys.argv[1:]:
        if old != text:
            path.write_text(text, encoding="utf-8")
        return 0
    if old == text:
        print("README.md: up to date")
        return 0
    sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "README.md", "nbs/index.ipynb", n=1))
    print("README.md is not what nbs/index.ipynb says: run `make sync`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

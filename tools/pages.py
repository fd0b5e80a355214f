"""The pages of the site: which notebook makes which page, in which part of the sidebar."""
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = [  # a notebook's number is at least the first and below the second
    (0, 10, "Documents, files, embeddings"),
    (10, 20, "The method"),
    (20, 30, "Fast and large"),
    (30, 40, "From features to topics"),
    (40, 50, "Pictures and data"),
    (50, 70, "Scores and rivals"),
    (70, 80, "Images, analysis, commands"),
    (80, 100, "Studies"),
]


def page_name(notebook):
    "Return the stem of a notebook's page: its name without the number."
    return re.sub(r"^\d+[a-zA-Z0-9]*_", "", Path(notebook).stem)


def notebooks():
    "Return the notebooks in order of data flow, index first."
    found = sorted(path for path in (ROOT / "nbs").glob("*.ipynb") if path.name[0] not in "_.")
    return sorted(found, key=lambda path: path.stem != "index")


def title(notebook):
    "Return the title a notebook gives itself in its first heading."
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        heading = re.search(r"^# +(.+?) *$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            return heading.group(1)
    raise SystemExit(f"{notebook.name} has no title: no markdown cell with a line '# ...'")


def sidebar():
    "Return the text of _sidebar.yml: every page, grouped by the numbers of the notebooks."
    lines = ["# Written by tools/pages.py from the notebooks in nbs/; `make sync` brings it up to date.", "website:", "  sidebar:",
             "    style: floating", "    collapse-level: 2", "    contents:"]

    def entry(path, indent):
        text = "Overview" if path.stem == "index" else title(path)
        return [f"{indent}- text: {json.dumps(text, ensure_ascii=False)}", f"{indent}  href: docs/{page_name(path)}.ipynb"]

    for path in notebooks():
        if not path.stem[0].isdigit():
            lines += entry(path, " " * 6)
    for first, last, name in GROUPS:
        inside = [path for path in notebooks() if path.stem[0].isdigit() and first <= int(re.match(r"\d+", path.stem)[0]) < last]
        if inside:
            lines += [f"      - section: {json.dumps(name)}", "        contents:"]
            for path in inside:
                lines += entry(path, " " * 10)
    return "\n".join(lines) + "\n"


def write_sidebar():
    "Write _sidebar.yml if it is out of date."
    path, text = ROOT / "_sidebar.yml", sidebar()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_sidebar()

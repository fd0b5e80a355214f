"""The shape of the code: narrow lines, and imports from lower numbers only."""
import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
MODULES = {}        # dotted name -> the notebook it is exported from
for path in (ROOT / "saetm").rglob("*.py"):
    found = re.search(r"File to edit: (?:\.\./)+nbs/(.+)\.ipynb", path.read_text(encoding="utf8"))
    if found: MODULES[".".join(path.relative_to(ROOT).with_suffix("").parts)] = found[1]


def code_cells(path):
    "Yield the id and the source of each code cell."
    for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
        if cell["cell_type"] == "code": yield cell["id"], "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_lines_are_narrow(path):
    for cell, source in code_cells(path):
        wide = [line for line in source.splitlines() if len(line) > 120 and not line.startswith("#|")]
        assert not wide, f"{path.name} cell {cell}: {wide[0]}"


def imported(module):
    "Return the modules of the package that a module imports when it is imported itself."
    path = ROOT / (module.replace(".", "/") + ".py")
    package, names = module.rsplit(".", 1)[0], set()
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        if isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import): names |= {alias.name for alias in node.names}
    return {name for name in names if name in MODULES} - {module}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_earlier_pages_only(module):
    order = {name: place for place, name in enumerate(sorted(MODULES.values()))}
    late = [name for name in imported(module) if order[MODULES[name]] >= order[MODULES[module]]]
    assert not late, f"{module} imports {late}, which come after it"

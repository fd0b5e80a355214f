"""Number figures, tables, equations and sections of a page, and turn references into links.

The labels are Quarto's: `#| label: fig-name` with `#| fig-cap:` (or `tbl-`, `tbl-cap:`) on a code cell,
`$$ ... $$ {#eq-name}`, `: caption {#tbl-name}` under a table, `![caption](file){#fig-name}`, `## Heading {#sec-name}`;
the references are `@fig-name` and so on. Used where the renderer has no cross-references of its own.
"""
import json
import re

NAMES = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}
LABEL = r"(?:fig|tbl|eq|sec)-[\w-]*\w"
FENCE = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r"\$\$(?P<tex>(?:(?!\$\$).)+?)\$\$[ \t]*\{#(?P<label>eq-[\w-]+)\}", re.DOTALL)


class UnknownLabel(Exception):
    "A reference to a label that the page does not have, or a label it has twice."


def outside_code(text, change):
    "Apply `change` to the parts of a Markdown text that are not code."
    return "".join(part if i % 2 else change(part) for i, part in enumerate(FENCE.split(text)))


def cell_label(source):
    "Return the label in the options of a code cell, or None."
    match = re.search(rf"^#\| *label: *[\"']?({LABEL})[\"']?\s*$", source, re.MULTILINE)
    return match and match.group(1)


def labels_of(cell):
    "Return the labels a cell defines, in order."
    source = "".join(cell["source"])
    if cell["cell_type"] == "code":
        label = cell_label(source)
        return [label] if label else []
    if cell["cell_type"] != "markdown":
        return []
    found = []
    outside_code(source, lambda part: found.extend(re.findall(rf"\{{#({LABEL})[^}}]*\}}", part)) or part)
    return found


def with_caption(source, label, text):
    "Put the kind and number of a code cell's figure or table in front of its caption."
    kind = label.split("-")[0]
    pattern = rf"^#\| *{kind}-cap: *(.*)$"
    if not re.search(pattern, source, re.MULTILINE):
        return f"#| {kind}-cap: {json.dumps(text, ensure_ascii=False)}\n{source}"

    def change(match):
        caption = match.group(1).strip()
        if caption[:1] == caption[-1:] and caption[:1] in "\"'":
            caption = caption[1:-1]
        return f"#| {kind}-cap: {json.dumps(f'{text}: {caption}', ensure_ascii=False)}"

    return re.sub(pattern, change, source, count=1, flags=re.MULTILINE)


def mark(text, numbers):
    "Number the labels inside a piece of prose."
    def equation(match):
        label = match["label"]
        return f'\n\n::: {{#{label} .equation}}\n$$\n{match["tex"].strip()} \\tag{{{numbers[label]}}}\n$$\n:::\n\n'

    def table(match):
        return f': Table {numbers[match["label"]]}: {match["caption"].strip()} {{#{match["label"]}{match["rest"]}}}'

    def figure(match):
        return f'![Figure {numbers[match["label"]]}: {match["caption"]}]({match["file"]}){{#{match["label"]}{match["rest"]}}}'

    text = EQUATION.sub(equation, text)
    text = re.sub(r"^: *(?P<caption>.*?)\{#(?P<label>tbl-[\w-]+)(?P<rest>[^}]*)\}", table, text, flags=re.MULTILINE)
    return re.sub(r"!\[(?P<caption>[^\]]*)\]\((?P<file>[^)]*)\)\{#(?P<label>fig-[\w-]+)(?P<rest>[^}]*)\}", figure, text)


def open_maths(text):
    """Put a word joiner before inline maths at the start of a paragraph, list item or table cell.

    smalldocs' parser looks at the character before the dollar sign, and at the very start takes the last one instead.
    """
    return re.sub(r"(^[ \t]*(?:(?:[-*+>]|\d+\.)[ \t]+)*|\|[ \t]*)(?=\$[^$\s])", r"\1&#8288;", text, flags=re.MULTILINE)


def refer(text, numbers, where):
    "Turn the references in a piece of prose into links."
    def link(match):
        plain, label = match.group(1), match.group(2)
        if label not in numbers:
            known = ", ".join(numbers) or "none"
            raise UnknownLabel(f"{where}: @{label} has no such label on its page; the labels are: {known}")
        number = numbers[label]
        return f"[{number if plain else NAMES[label.split('-')[0]] + ' ' + str(number)}](#{label})"

    def change(part):
        part = re.sub(rf"\[(-?)@({LABEL})\]", link, part)
        return re.sub(rf"(?<![\w/@])()@({LABEL})", link, part)

    return outside_code(text, change)


def number(page, where):
    "Number a page in place; `where` names it in messages."
    numbers, counts = {}, {}
    for cell in page["cells"]:
        for label in labels_of(cell):
            if label in numbers:
                raise UnknownLabel(f"{where}: the label {label} is there twice")
            kind = label.split("-")[0]
            counts[kind] = counts.get(kind, 0) + 1
            numbers[label] = counts[kind]
    for cell in page["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and (label := cell_label(source)):
            cell["source"] = with_caption(source, label, f"{NAMES[label.split('-')[0]]} {numbers[label]}")
        elif cell["cell_type"] == "markdown":
            source = outside_code(source, lambda part: open_maths(mark(part, numbers)))
            cell["source"] = refer(source, numbers, where)

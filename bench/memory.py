"""Peak memory of every step on 200,000 and on 1,000,000 documents, under the same cap.

Embeddings, word counts and texts are made by a planted model, in pieces, straight to disk. Then the commands run one by one, each in a process of its own, with `--memory CAP`; a thread
in it looks at anonymous and file-backed memory twenty times a second, and the system keeps the highest total (VmHWM). Training takes few steps: every document is counted, encoded and
fitted, but what is learned does not matter here. The last line is one JSON object: the ratio of the anonymous peaks, the largest of all steps.

    python bench/memory.py [--sizes 200000 1000000] [--cap 1GB] [--folder FOLDER]
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from scipy import sparse

D_EMBED, N_TOPICS, N_WORDS, WORDS_PER_DOC = 256, 200, 5000, 40
STEPS = {"bow": ["--language", "none", "--min-df", "5"], "train": ["--n-latents", "1024", "--k", "16", "--steps", "40"], "interpret": ["--passes", "2"], "merge": ["--n-topics", "50"]}


def facts():
    "Tell the machine and the versions."
    import torch, scipy
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    return dict(processor=model, cores=os.cpu_count(), python=platform.python_version(), numpy=np.__version__, scipy=scipy.__version__, torch=torch.__version__.split("+")[0])


def planted(n_docs, chunk=8192):
    "Yield embeddings (n, d) and word counts (n, V) of the next documents, and the words of each."
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_TOPICS, D_EMBED)).astype(np.float32)
    cumulative = np.cumsum(rng.dirichlet(np.full(N_WORDS, .05), N_TOPICS), 1)
    for start in range(0, n_docs, chunk):
        rng = np.random.default_rng([1, start])
        n = min(chunk, n_docs - start)
        topics, shares = rng.integers(0, N_TOPICS, (n, 3)), rng.dirichlet(np.ones(3), n).astype(np.float32)
        emb = np.einsum("nt,ntd->nd", shares, centres[topics]) + rng.normal(scale=.3, size=(n, D_EMBED)).astype(np.float32)
        drawn = np.empty((n, WORDS_PER_DOC), np.int64)
        said, which = rng.uniform(size=drawn.shape), topics[np.arange(n)[:, None], (rng.uniform(size=drawn.shape)[..., None] > np.cumsum(shares, 1)[:, None]).sum(2).clip(max=2)]
        for topic in range(N_TOPICS): drawn[which == topic] = np.searchsorted(cumulative[topic], said[which == topic]).clip(max=N_WORDS - 1)
        counts = sparse.csr_matrix((np.ones(drawn.size, np.int32), drawn.ravel(), np.arange(0, drawn.size + 1, WORDS_PER_DOC)), shape=(n, N_WORDS))
        counts.sum_duplicates()
        yield emb.astype(np.float32), counts, drawn


def word(i): return "w" + "".join(chr(97 + i // 26 ** j % 26) for j in range(4))


def make_run(run, n_docs):
    "Write the embeddings and the texts of a run, in pieces."
    from saetm.corpus import write_json
    (run / "embeddings").mkdir(parents=True)
    names, index = np.array([word(i) for i in range(N_WORDS)]), 0
    with open(run / "docs.txt", "w") as file:
        for index, (emb, _, drawn) in enumerate(planted(n_docs)):
            np.save(run / "embeddings" / f"{index:05d}.npy", emb)
            file.write("\n".join(map(" ".join, names[drawn])) + "\n")
    write_json(run / "embeddings" / "manifest.json", dict(rows=n_docs, width=D_EMBED, dtype="float32", shard_rows=8192, encoder="planted", checksum=None, precision=None, complete=True))


def status():
    "Read this process' memory: bytes by name."
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(("VmHWM", "RssAnon", "RssFile"))}


def child(arguments):
    "Run a command, and print the most memory it had."
    from saetm.cli import main
    most, done, start = dict(RssAnon=0, RssFile=0), threading.Event(), time.perf_counter()
    def watch():
        while not done.wait(.05):
            now = status()
            for name in most: most[name] = max(most[name], now[name])
    threading.Thread(target=watch, daemon=True).start()
    code = main(arguments)
    done.set()
    print(json.dumps(dict(peak=status()["VmHWM"], anonymous=most["RssAnon"], file=most["RssFile"], seconds=round(time.perf_counter() - start, 1))))
    return code


def measure(run, step, cap):
    "Run one step in a process of its own."
    done = in_child(step, *([str(run / "docs.txt")] if step == "bow" else []), *STEPS[step], "--run", str(run), "--quiet", "--memory", cap)
    if done.returncode: raise SystemExit(f"{step} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_child(*command):
    "Run a command in a process of its own that tells its peak."
    return subprocess.run([sys.executable, __file__, "--child", *command], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--cap", default="1GB")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    folder, found = args.folder or Path(tempfile.mkdtemp()), {}
    for n_docs in args.sizes:
        run = folder / str(n_docs)
        shutil.rmtree(run, ignore_errors=True)
        make_run(run, n_docs)
        for step in STEPS:
            found[step, n_docs] = measure(run, step, args.cap)
            print(f"{step:10} {n_docs:>9,} documents  " + "  ".join(f"{name} {value / 1e6:,.0f} MB" if name != "seconds" else f"{value} s" for name, value in found[step, n_docs].items()), flush=True)
        if args.folder is None: shutil.rmtree(run)
    small, large = args.sizes[0], args.sizes[-1]
    ratios = {step: round(found[step, large]["anonymous"] / found[step, small]["anonymous"], 3) for step in STEPS}
    print(json.dumps(dict(bench="memory", ratio=max(ratios.values()), ratios=ratios, cap=args.cap, machine=facts(),
                          peaks={f"{step} {n}": found[step, n] for step, n in found})))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]: raise SystemExit(child(sys.argv[2:]))
    main()

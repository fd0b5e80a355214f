"""Another number of topics against fitting the words anew, in one run on one machine.

    python bench/retopic.py [--run runs/demo]

Opens the demo's run and merges into 50, 100 and 300 topics; prints the wall seconds of each `set_n_topics` and, as the ratio, how many of them go into one
fit of the features' words, the cheapest thing that would otherwise be done again.
"""
import argparse, json, os, platform, time

import numpy as np
import torch

from saetm.word_fitting import fit_emission
from saetm.model import SAETM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", default="runs/demo")
parser.add_argument("--rounds", type=int, default=5)
args = parser.parse_args()

model = SAETM.load(args.run)
model.set_n_topics(20)                                          # imports and caches
seconds = {n: [] for n in (50, 100, 300)}
for _ in range(args.rounds):
    for n in seconds:
        start = time.perf_counter()
        model.set_n_topics(n)
        seconds[n].append(time.perf_counter() - start)
start = time.perf_counter()
fit_emission(model.theta_, model.bow_.counts)
words = time.perf_counter() - start
first = model.set_n_topics(50).components_
agree = float(np.abs(first - model.set_n_topics(300).set_n_topics(50).components_).max())
for n, found in seconds.items(): print(f"set_n_topics({n}): {np.median(found):.2f} s, all {', '.join(f'{s:.2f}' for s in found)}")
ratios = {n: round(words / float(np.median(found)), 1) for n, found in seconds.items()}
machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), torch=torch.__version__, numpy=np.__version__)
print(json.dumps(dict(bench="retopic", ratio=ratios[100], ratios=ratios, seconds={n: round(float(np.median(f)), 3) for n, f in seconds.items()}, agree=agree, machine=machine)))

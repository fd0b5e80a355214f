"""A blind reading of topics: readers rate lists of words without knowing which model made them.

    python bench/blind.py make --folder runs/bench --corpus wikipedia --models saetm kmeans --out runs/blind/wikipedia
    python bench/blind.py score --out runs/blind/wikipedia a.txt b.txt --readers "two authors" --write results/blind.md

`make` takes lists from a benchmark and writes OUT/lists.txt, which says how to rate; give readers a copy of this file
alone. The answers stay in OUT/key.csv, the command in OUT/command.txt. `score` reads a file of ratings a reader,
averages the readers of each list and compares the models, with 95% intervals from a bootstrap over topics.
"""
import argparse, csv, itertools, json, re, shlex, sys
from pathlib import Path

import numpy as np

from saetm.benchmark import Cell
from saetm.corpus import atomic_path
from saetm.metrics import make_score
from saetm.sae import check_count, check_seed

INSTRUCTION = """\
# Rate each list of words from 0 to 100 for how clearly it is about one subject that you could name:
# 0 for unrelated words, 50 for a vague common theme or two subjects mixed, 100 for words all about one clear subject.
# Judge the lists alone, and use the whole scale.
# Answer in a file with a line for each list: its number, a tab, your rating.
"""


def read_topics(folder, cell, n_words):
    "Return topic -> its first words, for the topics of a cell that have words."
    path = cell.folder(folder) / "top_words.txt"
    lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
    topics = {topic: line.split(",")[:n_words] for topic, line in enumerate(lines) if line}
    options = f"--corpora {cell.corpus} --models {cell.model} --n-topics {cell.n_topics} --seeds {cell.seed}"
    command = f"saetm benchmark --run {folder} {options}"
    if not topics: raise ValueError(f"{path} {'has no topics' if path.exists() else 'is missing'}: run `{command}`")
    return topics


def draw_lists(models, most, seed):
    "Draw topics of each model and number them in random order: rows of number, model, topic, words."
    rng, rows = np.random.default_rng(seed), []
    for model, topics in models.items():
        drawn = rng.choice(sorted(topics), min(most, len(topics)), replace=False)
        rows += [(model, topic, topics[topic]) for topic in sorted(drawn.tolist())]
    return [(number, *row) for number, row in zip((rng.permutation(len(rows)) + 1).tolist(), rows)]


def write_kit(out, rows, command):
    "Write the lists, the command and, last, the key; its rows keep the order of the models."
    (out / "key.csv").unlink(missing_ok=True)
    lists = "".join(f"{number}\t{' '.join(words)}\n" for number, _, _, words in sorted(rows))
    key = "number,model,topic\n" + "".join(f"{number},{model},{topic}\n" for number, model, topic, _ in rows)
    for name, text in {"lists.txt": INSTRUCTION + lists, "command.txt": command + "\n", "key.csv": key}.items():
        with atomic_path(out / name) as path: path.write_text(text, encoding="utf8")


def make(args, command):
    "Make a kit from the cells of a benchmark."
    check_count(args.words, "words"); check_count(args.topics, "topics"); check_seed(args.seed)
    if len(set(args.models)) < len(args.models): raise ValueError(f"models must differ, got {' '.join(args.models)}")
    out = args.out or Path("runs/blind") / args.corpus
    if (out / "key.csv").exists() and not args.force:
        raise ValueError(f"{out / 'key.csv'} exists and a reading may be under way: name another --out, or add --force")
    cells = {model: Cell(args.corpus, model, args.n_topics, args.seed) for model in args.models}
    models = {model: read_topics(args.folder, cell, args.words) for model, cell in cells.items()}
    rows = draw_lists(models, args.topics, args.seed)
    write_kit(out, rows, command)
    for model, topics in models.items():
        print(f"{model}: {sum(row[1] == model for row in rows)} of {len(topics)} topics with words")
    print(f"{len(rows)} lists -> {out / 'lists.txt'}; readers get a copy of this file alone")


def read_kit(out):
    "Return number -> (model, words) in the order of the key."
    key, lists = out / "key.csv", out / "lists.txt"
    if not key.exists(): raise ValueError(f"{key} is missing: run `python bench/blind.py make`")
    lines = [line.split("\t") for line in lists.read_text(encoding="utf8").splitlines() if not line.startswith("#")]
    words = {int(number): text for number, text in lines}
    with open(key, encoding="utf8", newline="") as file:
        return {int(row["number"]): (row["model"], words[int(row["number"])]) for row in csv.DictReader(file)}


def read_rating(line, where, n):
    "Return the number and the rating of a line."
    parts = re.split(r"\s*,\s*|\s+", line)
    if len(parts) != 2: raise ValueError(f"{where}: a line must be a number and a rating, got {line!r}")
    known = {str(number) for number in range(1, n + 1)}
    if parts[0] not in known: raise ValueError(f"{where}: number must be in 1..{n}, got {parts[0]!r}")
    try: rating = float(parts[1])
    except ValueError: rating = np.nan
    if not 0 <= rating <= 100: raise ValueError(f"{where}: rating must be a number in 0..100, got {parts[1]!r}")
    return int(parts[0]), rating


def read_ratings(path, n):
    "Return the ratings of one reader (n,), list 1 first."
    ratings = {}
    for i, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), 1):
        line, where = line.strip(), f"{path}, line {i}"
        if not line or line.startswith("#"): continue
        number, rating = read_rating(line, where, n)
        if number in ratings: raise ValueError(f"{where}: each list must be rated once, got list {number} again")
        ratings[number] = rating
    missing = [number for number in range(1, n + 1) if number not in ratings]
    if missing: raise ValueError(f"{path}: each list must be rated, missing {', '.join(map(str, missing))}")
    if len(set(ratings.values())) == 1: raise ValueError(f"{path}: ratings must differ, all are {ratings[1]:g}")
    return np.array([ratings[number] for number in range(1, n + 1)])


def mean_difference(values, others, n_boot=2000, seed=0):
    "Return mean(values) - mean(others) and the ends of its interval; both sides are resampled apart."
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(part, (n_boot, len(part))).mean(1) for part in (values, others)]
    return [float(values.mean() - others.mean()), *np.quantile(drawn[0] - drawn[1], [.025, .975]).tolist()]


def agreement(readers):
    "Return the Pearson correlation and the mean absolute difference of two readers, averaged over pairs; None for one."
    pairs = [(np.corrcoef(a, b)[0, 1], np.abs(a - b).mean()) for a, b in itertools.combinations(readers, 2)]
    return dict(zip(("correlation", "difference"), np.mean(pairs, 0).tolist())) if pairs else None


def format_table(scores, differences):
    "Return the lines of the table of models."
    columns = ["model", "topics", "mean rating", "rated 80 and above", "below 40", f"minus {next(iter(scores))}"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for model, score in scores.items():
        high, low = (score.values >= 80).mean(), (score.values < 40).mean()
        less = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*differences[model]) if model in differences else ""
        mean = f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"
        lines.append(f"| {model} | {score.n_scored} | {mean} | {high:.0%} | {low:.0%} | {less} |")
    return lines


def format_examples(model, lists, n=3):
    "Return the lines of the best and the worst lists of a model, given as (rating, words)."
    ranked = sorted(lists, key=lambda pair: -pair[0])
    parts = {"best": ranked[:n], "worst": ranked[::-1][:n]}
    lines = [f"- {part}, {rating:.1f}: {words}" for part, some in parts.items() for rating, words in some]
    return [f"\n## {model}\n", *lines]


def score(args, command):
    "Compare the models of a kit by the ratings of its readers."
    kit = read_kit(args.out)
    readers = [read_ratings(path, len(kit)) for path in args.ratings]
    mean, lists = np.mean(readers, 0).tolist(), {}
    for number, (model, words) in kit.items(): lists.setdefault(model, []).append((mean[number - 1], words))
    scores = {model: make_score(model, [rating for rating, _ in rated]) for model, rated in lists.items()}
    first, *others = scores
    differences = {model: mean_difference(scores[model].values, scores[first].values) for model in others}
    agree = agreement(readers)
    lines = [*format_table(scores, differences), "\nIntervals: 95%, bootstrap over topics."]
    between = "Between readers: correlation {correlation:.2f}, mean absolute difference {difference:.1f}."
    if agree: lines.append(between.format(**agree))
    text = "\n".join(lines + [line for model in lists for line in format_examples(model, lists[model])]) + "\n"
    print(text)
    who = args.readers or f"{len(readers)} reader{'s' * (len(readers) > 1)}"
    if args.write: write_result(args, text, f"{len(kit)} lists, read by {who}", command)
    rounded = lambda values: [round(value, 2) for value in values]
    print(json.dumps(dict(bench="blind", means={model: round(found.value, 2) for model, found in scores.items()},
                          intervals={model: rounded([found.low, found.high]) for model, found in scores.items()},
                          differences={model: rounded(found) for model, found in differences.items()},
                          agreement=agree and {name: round(value, 3) for name, value in agree.items()},
                          readers=len(readers), lists=len(kit))))


def write_result(args, text, facts, command):
    "Write the comparison as a page, with the commands that made it."
    about = (args.out / "command.txt").read_text(encoding="utf8") + command
    head = f"# A blind reading of topics\n\n```\n{about}\n```\n\n{facts}. No list named its model."
    with atomic_path(args.write) as path: path.write_text(f"{head}\n\n{text}", encoding="utf8")


def main(argv=None):
    "Run a subcommand."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(required=True)
    add = sub.add_parser("make", help="write lists for readers, and a key")
    add.add_argument("--folder", type=Path, default=Path("runs/benchmark"), help="folder of the benchmark")
    add.add_argument("--corpus", default="wikipedia")
    add.add_argument("--n-topics", type=int, default=50, help="number of topics of the cells")
    add.add_argument("--models", nargs="+", required=True, help="the first is the one the others are compared with")
    add.add_argument("--seed", type=int, default=0, help="seed of the cells, of the sample and of the order")
    add.add_argument("--words", type=int, default=8, help="words of a list")
    add.add_argument("--topics", type=int, default=50, help="most lists of a model")
    add.add_argument("--out", type=Path, help="folder of the kit (default: runs/blind/CORPUS)")
    add.add_argument("--force", action="store_true", help="overwrite a kit")
    add.set_defaults(run=make)
    add = sub.add_parser("score", help="compare the models by the ratings")
    add.add_argument("ratings", type=Path, nargs="+", help="a file a reader: number and rating")
    add.add_argument("--out", type=Path, required=True, help="folder of the kit")
    add.add_argument("--write", type=Path, help="markdown file for the result")
    add.add_argument("--readers", help="who read, for the file")
    add.set_defaults(run=score)
    args = parser.parse_args(argv)
    args.run(args, f"python bench/blind.py {shlex.join(sys.argv[1:] if argv is None else map(str, argv))}")


if __name__ == "__main__":
    try: main()
    except (ValueError, OSError) as error: sys.exit(f"blind: {error}")

"""Several processes under torchrun give the results of one, report an error once, and resume with another number of processes."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from saetm import load_corpus
from saetm.corpus import count_words
from saetm.emission import theta_from_acts
from saetm.word_fitting import fit_emission
from saetm.model import load_interpretation
from saetm.ranks import check_same, count_words_by_rank, is_first, size
from saetm.sae import encode_sparse, load_sae
from saetm.streams import count_to_shards
from saetm.sae_fitting import fit_sae

pytestmark = pytest.mark.filterwarnings("ignore:.*of the documents have no active feature")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
ALONE = "import os, sys; open(f'{sys.argv[1]}.{os.environ.get(\"RANK\", 0)}', 'w').write(str(os.getpid())); from saetm.cli import main; raise SystemExit(main(sys.argv[2:]))"
ALL = "import sys; from saetm.ranks import joined; from saetm.cli import main\nwith joined():\n    for line in sys.argv[1].split(';'): assert main(line.split()) == 0, line\n"
DISK = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_memory
from saetm import cli, streams
from saetm.ranks import rank
save, at = streams._save_part, dict(pair.split(":") for pair in sys.argv[2].split(",") if pair)
def save_part(folder, index, shard):
    if at.get(str(index)) == "fail": raise OSError("disk 7 is full")
    if at.get(str(index)) == "die": streams.write_json = lambda *written: os.kill(os.getpid(), signal.SIGKILL)       # the counts are there, the words are not
    save(folder, index, shard)
    os.write(1, f"rank {rank()} part {index}\\n".encode())     # in one piece
test_memory.leave_on_disk(cli)
streams._save_part = save_part
raise SystemExit(cli.main(sys.argv[3:]))
"""
MANY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_ranks
from saetm.ranks import joined
with joined(): test_ranks.do_all(Path(sys.argv[2]), *map(int, sys.argv[3:]))
"""
WORDS = """
import os, signal, sys
from saetm import cli, emission
from saetm.ranks import rank
add, sums = emission.sum_, []
def add_until_killed(tensor):
    sums.append(1)
    if rank() == 2 and len(sums) == 3: os.kill(os.getpid(), signal.SIGKILL)
    return add(tensor)
emission.sum_ = add_until_killed
raise SystemExit(cli.main(sys.argv[1:]))
"""
THREADS = """
from pathlib import Path
from saetm.ranks import joined, wait
def names(): return {name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")}
with joined():
    import torch
    torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])      # loads more of torch
    wait()
    assert any("gloo" in name for name in names())
assert not any("gloo" in name for name in names()), names()
"""
TRAIN = "--n-latents 64 --top-k 4 --batch-size 128 --architecture batch_topk --precision float32"


def torchrun(script, *arguments, n=2):
    "Start a script in two processes, or n."
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "--", script, *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as free: free.bind(("127.0.0.1", 0)); return str(free.getsockname()[1])


def two_machines(script, *arguments):
    "Start a script as on two machines, which number themselves."
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "test"]
    command = [sys.executable, "-m", "torch.distributed.run", *meet, "--", script, *map(str, arguments)]
    return [subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]


def two_alone(script, *lines):
    "Start a script as on two machines, with a line of arguments for each."
    job = ENVIRONMENT | dict(WORLD_SIZE="2", LOCAL_WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    return [subprocess.Popen([sys.executable, script, *line.split()], env=job | dict(RANK=str(r)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for r, line in enumerate(lines)]


def finish_both(processes):
    "Wait for two machines; return their exit codes and all that they said to stderr."
    (code, _, err), (other_code, _, other_err) = map(finish, processes)
    return [code, other_code], err + other_err


def alone(folder, *lines):
    "Run commands in one process, with as many threads as each of two has: sums in another order have other last digits."
    process = subprocess.Popen([sys.executable, folder / "all.py", ";".join(lines)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    code, _, err = finish(process)
    assert code == 0, err


def finish(process):
    "Wait for a process; return its exit code and what it said to stdout and stderr."
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A folder with documents and scripts."
    folder = tmp_path_factory.mktemp("ranks")
    pd.DataFrame(dict(text=load_corpus("tweets").text.tolist()[:2100])).to_parquet(folder / "docs.parquet")
    (folder / "alone.py").write_text(ALONE)
    (folder / "all.py").write_text(ALL)
    (folder / "disk.py").write_text(DISK)
    (folder / "many.py").write_text(MANY)
    (folder / "words.py").write_text(WORDS)
    return folder


@pytest.fixture(scope="module")
def one(folder):
    "A run in one process."
    alone(folder, *commands(folder, "one"))
    return folder / "one"


def commands(folder, name, steps=60):
    run = f"--run {folder / name} --quiet"
    return [f"bow {folder / 'docs.parquet'} {run}", f"embed {folder / 'docs.parquet'} --encoder wordllama {run}", f"train {TRAIN} --steps {steps} {run}", f"interpret {run}"]


def read_all(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_against_one(found, one):
    "The files of several processes against those of one: words and embeddings the same, SAE and emission up to rounding."
    found_files, expected = read_all(found), read_all(one)
    assert sorted(found_files) == sorted(expected)
    assert [name for name in expected if name.split("/")[0] in ("bow", "embeddings") and found_files[name] != expected[name]] == []
    found_sae, sae = (load_sae(run / "sae") for run in (found, one))
    np.testing.assert_allclose(found_sae.W_dec.detach().numpy(), sae.W_dec.detach().numpy(), atol=1e-4)
    (theta, fit, vectors), (theta_one, fit_one, vectors_one) = (load_interpretation(run / "emission") for run in (found, one))
    assert abs(theta - theta_one).max() < 1e-4 and fit.n_passes == fit_one.n_passes
    np.testing.assert_allclose(fit.perplexity, fit_one.perplexity, rtol=1e-4)
    assert abs(fit.emission - fit_one.emission).max() < 1e-4 and np.abs(vectors.vectors - vectors_one.vectors).max() < 1e-3


def test_two_processes_write_the_files_of_one(folder, one):
    code, _, err = finish(torchrun(folder / "all.py", ";".join(commands(folder, "two"))))
    assert code == 0, err
    check_against_one(folder / "two", one)


def test_no_thread_of_the_job_outlives_it(folder):
    "One that does may want Python's lock while the process ends, and abort it."
    (folder / "threads.py").write_text(THREADS)
    code, _, err = finish(torchrun(folder / "threads.py"))
    assert code == 0, err


def test_two_processes_learn_the_words_of_one(folder, one):
    shutil.copytree(one, folder / "shared-words", ignore=shutil.ignore_patterns("emission"))
    code, _, err = finish(torchrun(folder / "all.py", f"interpret --run {folder / 'shared-words'} --quiet"))
    assert code == 0, err
    (theta, fit, _), (theta_one, fit_one, _) = (load_interpretation(run / "emission") for run in (folder / "shared-words", one))
    assert abs(theta - theta_one).max() == 0 and fit.n_passes == fit_one.n_passes
    assert abs(fit.emission - fit_one.emission).max() < 1e-5 and np.isclose(fit.perplexity, fit_one.perplexity, rtol=1e-5)


def wait_for(path, process):
    limit = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < limit
        time.sleep(.005)


def test_a_killed_process_ends_the_job_and_one_process_finishes_the_run(folder, one):
    shutil.copytree(one, folder / "killed", ignore=shutil.ignore_patterns("sae", "emission"))
    train = f"train {TRAIN} --steps 1000 --run {folder / 'killed'} --quiet"
    two = torchrun(folder / "alone.py", folder / "pid", *train.split())
    wait_for(folder / "killed" / "sae" / "checkpoints" / "latest.json", two)
    os.kill(int((folder / "pid.1").read_text()), signal.SIGKILL)
    code, _, err = finish(two)
    assert code == 1 and err.count("saetm train") <= 1 and "local_rank: 1" in err and "Signal 9 (SIGKILL)" in err
    assert not (folder / "killed" / "sae" / "sae.safetensors").exists()
    alone(folder, train)
    assert load_sae(folder / "killed" / "sae").n_latents == 64


def test_two_machines_write_the_files_of_one(folder, one):
    codes, err = finish_both(two_machines(folder / "all.py", ";".join(commands(folder, "machines"))))
    assert codes == [0, 0], err
    check_against_one(folder / "machines", one)


def test_a_killed_process_ends_the_other_machine(folder, one):
    shutil.copytree(one, folder / "apart", ignore=shutil.ignore_patterns("sae", "emission"))
    train = f"train {TRAIN} --steps 600 --run {folder / 'apart'} --quiet"
    machines = two_machines(folder / "alone.py", folder / "pid-of", *train.split())
    wait_for(folder / "apart" / "sae" / "checkpoints" / "latest.json", machines[0])
    os.kill(int((folder / "pid-of.1").read_text()), signal.SIGKILL)
    codes, err = finish_both(machines)
    assert codes == [1, 1] and err.count("saetm train") == 1 and "another of the 2 processes has failed" in err and "Signal 9 (SIGKILL)" in err


@pytest.mark.parametrize("second, message", [
    ("bow {docs} --run {apart}", "must be on a file system that all machines share, under the same path; process 1 does not see what process 0 writes there"),
    ("bow {docs} --run {run} --min-df 3", "the command and its options must be the same for all 2 processes; those of process 1 differ from those of process 0"),
    ("bow {other} --run {run}", "documents must be the same for all 2 processes; those of process 1 differ from those of process 0"),
])
def test_machines_must_do_the_same_in_the_same_folder(folder, tmp_path, second, message):
    (tmp_path / "other.txt").write_text("one fish\ntwo fish\n")
    paths = dict(docs=folder / "docs.parquet", other=tmp_path / "other.txt", run=tmp_path / "run", apart=tmp_path / "apart")
    codes, err = finish_both(two_alone(folder / "alone.py", *(f"{tmp_path / 'pid'} {line.format(**paths)}" for line in ("bow {docs} --run {run}", second))))
    assert codes == [1, 1] and err.count(message) == 1 and err.count("saetm bow") == 1, err
    assert not [path for name in ("run", "apart") for path in (tmp_path / name).rglob("*")]


def test_a_killed_process_ends_the_learning_of_words(folder, one):
    shutil.copytree(one, folder / "words")
    shutil.rmtree(folder / "words" / "emission")
    code, _, err = finish(torchrun(folder / "words.py", "interpret", "--run", folder / "words", "--quiet", n=3))
    assert code == 1 and err.count("saetm interpret") <= 1 and "local_rank: 2" in err
    assert {path.name for path in (folder / "words" / "emission").iterdir()} <= {"theta"}     # proportions are kept, to resume from
    alone(folder, f"interpret --run {folder / 'words'} --quiet")
    assert read_all(folder / "words") == read_all(one)


@pytest.mark.parametrize("arguments, message", [
    ("--top-k 99 --n-latents 64", "k must be in 1..F=64, got 99"),
    ("--n-latents 64 --top-k 4 --steps 5 --batch-size 1", "batch_size must be at least 2, the number of processes, got 1"),
    ("--steps", "expected one argument"),
])
def test_a_wrong_setting_is_told_once(folder, one, arguments, message):
    code, out, err = finish(torchrun(folder / "alone.py", folder / "pid", "train", "--run", str(one), *arguments.split()))
    assert code == 1 and err.count(message) == 1 and out == ""


def test_an_error_of_one_process_is_what_is_read(folder):
    script = folder / "broken.py"
    script.write_text("import sys; from saetm.ranks import rank; import saetm.cli as cli\n"
                      "def step(*args):\n    if rank(): raise OSError('disk 7 is full')\n    cli.wait()\ncli.make_sae = step\nraise SystemExit(cli.main(['train', '--run', sys.argv[1]]))\n")
    code, out, err = finish(torchrun(script, folder / "none"))
    assert code == 1 and err.count("saetm train (process 1 of 2): disk 7 is full") == 1
    assert "has failed or does not answer" not in err and "Connection" not in err


def on_disk(folder, name, n=1, at="", source="docs.parquet", step="bow", options=()):
    "Count or embed documents that stay on disk, 24 parts of 90, in n processes; return the exit code, who counted which parts, and what was said to stderr."
    code, out, err = finish(torchrun(folder / "disk.py", os.path.dirname(os.path.abspath(__file__)), at, step, folder / source, "--run", folder / name, "--quiet", *options, n=n))
    return code, [tuple(map(int, line.split()[1::2])) for line in out.splitlines() if line.startswith("rank")], err


@pytest.fixture(scope="module")
def counted(folder):
    "Counts made in one process, a part at a time."
    code, parts, err = on_disk(folder, "counted")
    assert code == 0 and parts == [(0, part) for part in range(24)], err
    return read_all(folder / "counted" / "bow")


def test_two_processes_share_the_parts_of_documents_on_disk(folder, counted, one):
    code, parts, err = on_disk(folder, "shared", 2)
    assert code == 0, err
    assert sorted(parts) == [(part // 12, part) for part in range(24)]
    assert read_all(folder / "shared" / "bow") == counted and any(name.startswith("counts/") for name in counted)
    code, _, err = on_disk(folder, "shared", 2, step="embed", options=["--encoder", "wordllama"])
    assert code == 0, err
    assert read_all(folder / "shared" / "embeddings") == read_all(one / "embeddings")


@pytest.mark.parametrize("at, begin, left, n", [("12:die", 3, {*range(12, 16)}, 1), ("3:die,20:die", 2, {*range(3, 12), *range(20, 24)}, 3)])
def test_counting_on_disk_resumes_with_another_number_of_processes(folder, counted, at, begin, left, n):
    name = f"left-to-{n}"
    code, parts, err = on_disk(folder, name, begin, at)
    assert code == 1 and err.count("saetm bow") <= 1 and "Signal 9 (SIGKILL)" in err
    before = {part for _, part in parts}
    assert before <= {*range(24)} - left and not (folder / name / "bow" / "vocabulary.json").exists() and not (folder / name / "bow" / "stamp.json").exists()
    code, parts, err = on_disk(folder, name, n)
    assert code == 0, err
    assert {part for _, part in parts} == {*range(24)} - before and {rank for rank, _ in parts} == {*range(n)}
    assert read_all(folder / name / "bow") == counted


@pytest.mark.parametrize("more, message", [
    (dict(at="15:fail"), "saetm bow (process 1 of 2): disk 7 is full"),
    (dict(options=["--min-df", "2000"]), "saetm bow: the vocabulary is empty after pruning"),
    (dict(source="bad.jsonl"), "bad.jsonl line 2: not valid JSON"),
])
def test_an_error_in_counting_on_disk_is_told_once(folder, tmp_path, more, message):
    (folder / "bad.jsonl").write_text('{"text": "one"}\n{"text": \n')
    code, _, err = on_disk(folder, tmp_path, 2, **more)
    assert code == 1 and err.count(message) == 1 and err.count("saetm bow") == 1, err
    assert "another of the 2" not in err and not (tmp_path / "bow" / "vocabulary.json").exists()


def planted():
    "Embeddings (1000, 24) of sixteen causes, and word counts."
    causes, rng = np.random.default_rng(0).normal(size=(1000, 16)), np.random.default_rng(1)
    return (causes @ rng.normal(size=(16, 24))).astype(np.float32), rng.poisson(.2, (1000, 60))


def train(emb, last=40, **settings):
    "Train for 40 steps, or until one of them; return the SAE, or None, and [step, loss, share of dead features] of each step."
    seen = []
    def on_step(step, values):
        seen.append([step, values["loss"], values["dead_share"]])
        if step == last < 40: raise KeyboardInterrupt
    try: return fit_sae(emb, n_latents=130, k=4, steps=40, batch_size=250, precision="float32", every=1, on_step=on_step, checkpoint_every=10, **settings), seen
    except KeyboardInterrupt: return None, seen


def train_and_learn_words():
    "Return the steps of a training, and the words that its features learn; the same on all ranks."
    (emb, counts), found = planted(), {}
    for name in ("topk", "batch_topk"):
        sae, seen = train(emb, architecture=name)
        check_same(sae.W_dec.tolist(), "SAEs")
        fit = fit_emission(theta_from_acts(encode_sparse(sae, emb)), counts)
        found[name] = seen, fit.n_passes, check_same(fit.emission.toarray().tolist(), "emissions")
    return found


def resume(folder, last):
    "Train from where others stopped to a step, and return the steps."
    return train(planted()[0], last, checkpoint=folder / "resumed")[1]


def do_all(folder, last):
    "Train, resume and count in all processes of the job; rank 0 writes the results."
    found = dict(results=train_and_learn_words(), resumed=resume(folder, last))
    docs = pd.read_parquet(folder / "docs.parquet").text.tolist()[:1000]
    on_disk, inside = count_to_shards(docs, folder / f"counts-{size()}", part_docs=90), count_words_by_rank(docs)
    found["counts"] = on_disk.vocabulary, on_disk.counts[:].toarray().sum(0).tolist()
    if is_first(): assert inside.vocabulary == on_disk.vocabulary and (inside.counts != on_disk.counts[:]).nnz == 0
    if is_first(): (folder / f"many-{size()}.json").write_text(json.dumps(found))


def test_three_and_four_processes_do_what_one_does(folder):
    before = torch.get_num_threads()
    torch.set_num_threads(1)                                   # as in each of the others
    def job(n, last):
        code, _, err = finish(torchrun(folder / "many.py", os.path.dirname(os.path.abspath(__file__)), folder, last, n=n))
        assert code == 0, err
        return json.loads((folder / f"many-{n}.json").read_text())
    try:
        four, by_one, three, one = job(4, 15), resume(folder, 25), job(3, 40), train_and_learn_words()
        bow = count_words(pd.read_parquet(folder / "docs.parquet").text.tolist()[:1000])
    finally: torch.set_num_threads(before)
    for many in (four, three):
        for name, (seen, n_passes, emission) in one.items():
            assert seen[-1][2] > 0                             # some features have died, and are revived
            np.testing.assert_allclose(many["results"][name][0], seen, rtol=1e-4)
            np.testing.assert_allclose(many["results"][name][2], emission, atol=1e-5)
            assert many["results"][name][1] == n_passes
        assert many["counts"] == [bow.vocabulary, bow.counts.toarray().sum(0).tolist()]
    for seen, first, last in ((four["resumed"], 1, 15), (by_one, 11, 25), (three["resumed"], 21, 40)):
        assert [step for step, *_ in seen] == list(range(first, last + 1))
        np.testing.assert_allclose(seen, np.array(one["topk"][0])[first - 1:last], rtol=1e-3)

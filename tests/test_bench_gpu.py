"The benchmark for GPUs runs as it is: at tiny sizes, on the CPU."
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_rows_run_and_are_written(tmp_path):
    command = [sys.executable, ROOT / "bench" / "gpu.py", "--device", "cpu", "--small", "--out", tmp_path, "--rows", "agree", "paper", "emission"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["failed"] == [] and last["agree"] < 1e-3
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row: found["status"] for row, found in rows.items()} == dict(agree="done", paper="done", emission="done")
    assert rows["paper"]["explained_variance"] > 0.5 and rows["emission"]["equal_or_better"]
    assert "| wide | open |" in (tmp_path / "gpu.md").read_text()


def test_a_row_that_fails_is_said_and_the_others_go_on(tmp_path):
    command = [sys.executable, ROOT / "bench" / "gpu.py", "--device", "cpu", "--small", "--out", tmp_path, "--rows", "paper", "ceilings", "--seconds", "16"]
    source = (ROOT / "bench" / "gpu.py").read_text().replace("def row_ceilings(sizes, device, options):", "def row_ceilings(sizes, device, options):\n    raise MemoryError('too large')")
    (tmp_path / "bench").mkdir()
    script = tmp_path / "bench" / "gpu.py"
    script.write_text(source.replace("ROOT = Path(__file__).resolve().parent.parent", f"ROOT = Path({str(ROOT)!r})"))
    done = subprocess.run([sys.executable, script, *command[2:]], capture_output=True, text=True)
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert done.returncode == 1
    assert rows["ceilings"]["status"] == "failed" and "too large" in rows["ceilings"]["reason"]
    assert rows["paper"]["status"] in ("done", "open")

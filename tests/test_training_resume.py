"A training run that is killed, and started again with the same command, ends in the same file."
import os
import signal
import subprocess
import sys

RUN = """
import sys, numpy as np, torch
from saetm.sae import save_sae
from saetm.sae_fitting import fit_sae
torch.set_num_threads(1)
emb = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)
def report(step, values): print(step, flush=True)
sae = fit_sae(emb, n_latents=96, k=4, steps=120, batch_size=256, checkpoint=sys.argv[1] + "/checkpoints", checkpoint_every=7, on_step=report, every=1)
save_sae(sys.argv[1], sae)
"""


def start(folder):
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, text=True)


def test_killed_training_goes_on_to_the_same_sae(tmp_path):
    whole = start(tmp_path / "whole")
    assert len(whole.communicate()[0].split()) == 120 and whole.returncode == 0

    first = start(tmp_path / "killed")
    for line in first.stdout:
        if int(line) == 50: break
    os.kill(first.pid, signal.SIGKILL)
    first.stdout.close()
    assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "sae.safetensors").exists()

    second = start(tmp_path / "killed")
    steps = [int(line) for line in second.communicate()[0].split()]
    assert second.returncode == 0 and 1 < steps[0] <= 120 and steps[-1] == 120
    assert (tmp_path / "killed" / "sae.safetensors").read_bytes() == (tmp_path / "whole" / "sae.safetensors").read_bytes()
    assert (tmp_path / "killed" / "settings.json").read_bytes() == (tmp_path / "whole" / "settings.json").read_bytes()

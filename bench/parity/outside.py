"""Fit models of TopMost and of `fastopic` in the environment that run.py made; one result file for each cell.

    python outside.py JOBS.json

A job holds `model`, `seed`, `n_topics`, `settings`, `data` (folder with counts.npz, vocabulary.json, embeddings.npy) and `out` (result file).
A result holds what the package says of topics and documents, `beta` (T, V) and `theta` (D, T), and for networks that end in a batch norm also
`beta_read` and `theta_read`: the same network as saetm reads it, see `read_network`.
"""
import json, os, random, sys, time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F
from torch.utils.data import DataLoader

for name in ("torchvision", "torchvision.datasets", "torchvision.datasets.utils"): sys.modules[name] = ModuleType(name)
sys.modules["torchvision.datasets.utils"].download_url = None       # all that TopMost takes from torchvision is the function that downloads its data sets


def lda(counts, emb, vocabulary, n_topics, settings):
    "gensim's online variational Bayes, through TopMost's trainer."
    from topmost.trainers import LDAGensimTrainer
    data = SimpleNamespace(train_bow=counts.toarray(), vocab=vocabulary, vocab_size=len(vocabulary))
    trainer = LDAGensimTrainer(data, n_topics, max_iter=settings["passes"])
    theta = trainer.train()[1]
    return dict(beta=trainer.get_beta(), theta=theta)


def lda_batch(counts, emb, vocabulary, n_topics, settings):
    "gensim's variational Bayes with one update of the topics a pass, as in scikit-learn."
    from gensim.matutils import Sparse2Corpus, corpus2dense
    from gensim.models import LdaModel
    corpus = list(Sparse2Corpus(counts, documents_columns=False))
    model = LdaModel(corpus, n_topics, dict(enumerate(vocabulary)), passes=settings["passes"], update_every=0, eval_every=None,
        iterations=100, gamma_threshold=1e-3, dtype=np.float64)                     # the two stops of a document's updates: scikit-learn's
    return dict(beta=model.get_topics(), theta=corpus2dense(model.get_document_topics(corpus, minimum_probability=0), n_topics).T)


def train(net, rows, settings):
    "TopMost's trainer; returns shares of topics."
    from topmost.trainers import BasicTrainer
    data = SimpleNamespace(train_dataloader=DataLoader(rows, settings["batch_size"], shuffle=True), train_data=rows, vocab=[])
    trainer = BasicTrainer(net, data, epochs=settings["epochs"], learning_rate=settings["lr"], batch_size=settings["batch_size"])
    trainer.get_top_words = lambda: None
    return trainer.train()[1]


@torch.no_grad()
def read_network(net, rows, settings, logits):
    "Topics as words of a document that has one topic, batch norm included; shares with means and variances of the batch norms from a last pass."
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d): layer.momentum = 0.1
    net.train()
    for batch in DataLoader(rows, settings["batch_size"], shuffle=True): net(batch)
    net.eval()
    return dict(beta_read=F.softmax(net.decoder_bn(logits(torch.eye(net.fc21.out_features))), 1).numpy(), theta_read=net.get_theta(rows).numpy())


def product_of_experts(net, rows, settings, logits=None):
    "Train a network that ends in a batch norm, and read it in both ways."
    theta = train(net, rows, settings)
    return dict(beta=net.get_beta().detach().numpy(), theta=theta, **read_network(net, rows, settings, logits or net.fcd1))


def dense(counts): return torch.from_numpy(counts.toarray().astype(np.float32))


def avitm(counts, emb, vocabulary, n_topics, settings):
    from topmost.models import ProdLDA
    return product_of_experts(ProdLDA(len(vocabulary), n_topics, settings["hidden"], settings["dropout"]), dense(counts), settings)


def dectm(counts, emb, vocabulary, n_topics, settings):
    from topmost.models import DecTM
    net = DecTM(len(vocabulary), n_topics, settings["hidden"], settings["dropout"])
    return product_of_experts(net, dense(counts), settings, lambda theta: F.normalize(theta, dim=1) @ F.normalize(net.beta, dim=0))


def etm(counts, emb, vocabulary, n_topics, settings, start=None):
    from topmost.models import ETM
    net = ETM(len(vocabulary), settings["d_word"], n_topics, settings["hidden"], settings["dropout"], train_WE=True)
    if start: start(net.topic_embeddings)
    theta = train(net, dense(counts), settings)
    return dict(beta=net.get_beta().detach().numpy(), theta=theta)


def etm_small_start(counts, emb, vocabulary, n_topics, settings):
    "The same with topic vectors that start as in the code of ETM's authors, a torch.nn.Linear without a constant."
    return etm(counts, emb, vocabulary, n_topics, settings, lambda weight: torch.nn.init.kaiming_uniform_(weight.data, a=5 ** .5))


def main(jobs):
    for job in jobs:
        data = Path(job["data"])
        counts, emb = sparse.csr_matrix(sparse.load_npz(data / "counts.npz")), np.load(data / "embeddings.npy")
        random.seed(job["seed"]); np.random.seed(job["seed"]); torch.manual_seed(job["seed"])
        start = time.process_time()
        found = globals()[job["model"]](counts, emb, json.loads((data / "vocabulary.json").read_text()), job["n_topics"], job["settings"])
        seconds, part = time.process_time() - start, job["out"] + ".part"
        with open(part, "wb") as file: np.savez_compressed(file, job=json.dumps(job["key"]), seconds=seconds, **{name: np.asarray(array, np.float32) for name, array in found.items()})
        os.replace(part, job["out"])
        print(f"theirs  {job['model']:16} seed {job['seed']}: {seconds:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.loads(Path(sys.argv[1]).read_text()))

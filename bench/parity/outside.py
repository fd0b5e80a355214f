"""Fit models of TopMost and of `fastopic` in the environment that run.py made; one result file for each cell.

    python outside.py JOBS.json

A job holds `function`, `seed`, `n_topics`, `settings`, `data` (folder with counts.npz, vocabulary.json, embeddings.npy) and `out` (result file).
A result holds what the package says of topics and documents: `beta` (T, V), of which only the order of words matters, and `theta` (D, T).
A function whose name ends in `_ours` makes the choices of saetm where the package makes others, and says which. One whose name ends in `_numbers` gives numbers
for same_numbers.py: of LDA, topics after some passes from given draws; of a network, its parameters under our names, and loss and gradients of one batch.
"""
import json, os, random, sys, time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from scipy import sparse
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


def lda_ours(counts, emb, vocabulary, n_topics, settings):
    "gensim as scikit-learn does it: one update a pass, which replaces the topics (decay 0: gensim's default mixes old and new in this mode as well), up to 100 updates of a document."
    from gensim.matutils import Sparse2Corpus, corpus2dense
    from gensim.models import LdaModel
    corpus = list(Sparse2Corpus(counts, documents_columns=False))
    model = LdaModel(corpus, n_topics, dict(enumerate(vocabulary)), passes=settings["passes"], update_every=0, decay=0.0, eval_every=None, iterations=100, dtype=np.float64)
    return dict(beta=model.get_topics(), theta=corpus2dense(model.get_document_topics(corpus, minimum_probability=0), n_topics).T)


def dense(counts): return torch.from_numpy(counts.toarray().astype(np.float32))


def train(net, rows, settings):
    "TopMost's trainer; returns shares of topics."
    from topmost.trainers import BasicTrainer
    data = SimpleNamespace(train_dataloader=DataLoader(rows, settings["batch_size"], shuffle=True), train_data=rows, vocab=[])
    trainer = BasicTrainer(net, data, epochs=settings["epochs"], learning_rate=settings["lr"], batch_size=settings["batch_size"])
    trainer.make_optimizer = lambda: torch.optim.Adam(net.parameters(), settings["lr"], (settings["beta1"], 0.999), weight_decay=settings["weight_decay"])
    trainer.get_top_words = lambda: None
    return trainer.train()[1]


def set_norms(net, **values):
    "Set what all batch norms of a network have in common."
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d): layer.__dict__.update(values)
    return net


def fitted(net, rows, settings):
    "Train, and take the decoder's weights as topics, as TopMost does."
    theta = train(net, rows, settings)
    return dict(beta=net.get_beta().detach().numpy(), theta=theta)


def fitted_ours(net, rows, settings):
    "Train with our batch norms, and take as topics what the decoder says of a document with one topic."
    theta = train(set_norms(net, **settings["norms"]), rows, settings)
    with torch.no_grad(): return dict(beta=net.eval().decode(torch.eye(theta.shape[1])).numpy(), theta=theta)


def prodlda(counts, n_topics, settings):
    from topmost.models import ProdLDA
    return ProdLDA(counts.shape[1], n_topics, settings["hidden"], settings["dropout"])

def avitm(counts, emb, vocabulary, n_topics, settings): return fitted(prodlda(counts, n_topics, settings), dense(counts), settings)
def avitm_ours(counts, emb, vocabulary, n_topics, settings): return fitted_ours(prodlda(counts, n_topics, settings), dense(counts), settings)


def dectm_net(counts, n_topics, settings):
    from topmost.models import DecTM
    return DecTM(counts.shape[1], n_topics, settings["hidden"], settings["dropout"])

def dectm(counts, emb, vocabulary, n_topics, settings): return fitted(dectm_net(counts, n_topics, settings), dense(counts), settings)
def dectm_ours(counts, emb, vocabulary, n_topics, settings): return fitted_ours(dectm_net(counts, n_topics, settings), dense(counts), settings)


def etm_net(counts, n_topics, settings):
    from topmost.models import ETM
    return ETM(counts.shape[1], settings["d_word"], n_topics, settings["hidden"], settings["dropout"], train_WE=True)

def etm(counts, emb, vocabulary, n_topics, settings): return fitted(etm_net(counts, n_topics, settings), dense(counts), settings)


def etm_ours(counts, emb, vocabulary, n_topics, settings):
    "Topic vectors that start small, as in the code of ETM's authors: a torch.nn.Linear without a constant."
    net = etm_net(counts, n_topics, settings)
    torch.nn.init.kaiming_uniform_(net.topic_embeddings.data, a=5 ** .5)
    return fitted(net, dense(counts), settings)


def with_embeddings(counts, emb): return torch.cat([dense(counts), torch.from_numpy(np.asarray(emb, np.float32))], 1)


def combinedtm_net(counts, emb, n_topics, settings):
    from topmost.models import CombinedTM
    return CombinedTM(counts.shape[1], emb.shape[1], n_topics, settings["hidden"], settings["dropout"])

def combinedtm(counts, emb, vocabulary, n_topics, settings): return fitted(combinedtm_net(counts, emb, n_topics, settings), with_embeddings(counts, emb), settings)


def combinedtm_ours(counts, emb, vocabulary, n_topics, settings):
    "The encoder sees counts and embedding side by side, as in the paper, the embedding with a mean square of 1."
    net = combinedtm_net(counts, emb, n_topics, settings)
    net.fc_contextual, net.fc11 = torch.nn.Identity(), torch.nn.Linear(counts.shape[1] + emb.shape[1], settings["hidden"])
    def get_theta(x):
        mean, log_var = net.encode(x)
        theta = net.theta_drop(torch.softmax(net.reparameterize(mean, log_var), 1))
        return (theta, mean, log_var) if net.training else theta
    net.get_theta = get_theta
    return fitted_ours(net, with_embeddings(counts, emb * emb.shape[1] ** .5), settings)


def tsctm_net(counts, n_topics, settings):
    from topmost.models import TSCTM
    return TSCTM(counts.shape[1], n_topics, settings["hidden"])

def tsctm(counts, emb, vocabulary, n_topics, settings): return fitted(tsctm_net(counts, n_topics, settings), dense(counts), settings)
def tsctm_ours(counts, emb, vocabulary, n_topics, settings): return fitted_ours(tsctm_net(counts, n_topics, settings), dense(counts), settings)


def fastopic(counts, emb, vocabulary, n_topics, settings):
    "The package `fastopic`: all documents in each step."
    from fastopic import FASTopic
    words = SimpleNamespace(preprocess=lambda docs: dict(train_bow=counts, vocab=vocabulary))
    model = FASTopic(n_topics, words, device="cpu", doc_embed_model=words)
    theta = model.fit_transform([""] * len(emb), settings["epochs"], settings["lr"], emb)[1]
    return dict(beta=model.get_beta(), theta=theta)


def lda_numbers(counts, emb, vocabulary, n_topics, settings):
    "Topics from draws of one generator: first the topics to start from, then the mixtures to start from, pass after pass."
    from gensim.matutils import Sparse2Corpus
    from gensim.models import LdaModel
    model, draws = LdaModel(None, n_topics, dict(enumerate(vocabulary)), decay=0.0, eval_every=None, iterations=100, dtype=np.float64), np.random.RandomState(0)
    model.state.sstats = draws.gamma(100, 0.01, (n_topics, counts.shape[1])) - 1 / n_topics      # gensim adds the prior, scikit-learn has it within
    model.sync_state()
    model.random_state, model.print_topics = draws, lambda *_: None                              # gensim's log would draw as well
    model.update(list(Sparse2Corpus(counts, documents_columns=False)), passes=settings["passes"], update_every=0)
    return dict(beta=model.get_topics())


def network_numbers(net, batch, names):
    "Loss and gradients of a batch in training, with draws of seed 0; `names` are ours for theirs, with .T for the transposed."
    torch.manual_seed(0)
    loss = (net.train()(*batch) if isinstance(batch, tuple) else net.train()(batch))["loss"]
    loss.backward()
    parameters, found = dict(net.named_parameters()), dict(loss=loss.detach())
    for theirs, ours in names.items():
        turn = (lambda x: x.T) if ours.endswith(".T") else lambda x: x.reshape(-1) if ours.endswith("_mass") else x
        found |= {f"value {ours.removesuffix('.T')}": turn(parameters[theirs].detach()), f"gradient {ours.removesuffix('.T')}": turn(parameters[theirs].grad)}
    return {name: value.numpy() for name, value in found.items()}


def layer_names(pairs): return {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in pairs.items() for part in ("weight", "bias")}
HEADS = layer_names({"fc21": "encoder.heads.0.0", "fc22": "encoder.heads.1.0"})
LAYERS = {"fc11.weight": "encoder.words.table.T", "fc11.bias": "encoder.words.bias", **layer_names({"fc12": "encoder.layers.0"}), **HEADS}
NORMS = {f"{theirs}.bias": f"{ours}.bias" for theirs, ours in {"mean_bn": "encoder.heads.0.1", "logvar_bn": "encoder.heads.1.1", "decoder_bn": "norm"}.items()}


def avitm_numbers(counts, emb, vocabulary, n_topics, settings): return network_numbers(prodlda(counts, n_topics, settings), dense(counts)[:200], {**LAYERS, **NORMS, "fcd1.weight": "beta.weight"})
def dectm_numbers(counts, emb, vocabulary, n_topics, settings): return network_numbers(dectm_net(counts, n_topics, settings), dense(counts)[:200], {**LAYERS, **NORMS, "beta": "beta.weight.T"})
def etm_numbers(counts, emb, vocabulary, n_topics, settings):
    names = {"encoder1.0.weight": "encoder.words.table.T", "encoder1.0.bias": "encoder.words.bias", **layer_names({"encoder1.2": "encoder.layers.0"}), **HEADS}
    return network_numbers(etm_net(counts, n_topics, settings), dense(counts)[:200], {**names, "word_embeddings": "words.weight", "topic_embeddings": "topics.weight"})


def combinedtm_numbers(counts, emb, vocabulary, n_topics, settings):
    names = {**layer_names({"fc_contextual": "contextual", "fc11": "encoder.layers.0", "fc12": "encoder.layers.1"}), **HEADS, **NORMS, "fcd1.weight": "beta.weight"}
    return network_numbers(combinedtm_net(counts, emb, n_topics, settings), with_embeddings(counts, emb)[:200], names)


def tsctm_numbers(counts, emb, vocabulary, n_topics, settings):
    names = {name: ours for name, ours in {**LAYERS, **NORMS, "fcd1.weight": "beta.weight", "topic_dist_quant._embedding.weight": "codes.weight"}.items() if "fc22" not in name and "logvar" not in name}
    return network_numbers(tsctm_net(counts, n_topics, settings), dense(counts)[:200], names)


def fastopic_numbers(counts, emb, vocabulary, n_topics, settings):
    from fastopic._fastopic import fastopic as Net
    net = Net(n_topics)
    net.init(*counts.shape[1:], emb.shape[1])
    return network_numbers(net, (dense(counts)[:200], torch.from_numpy(emb)[:200]), {"topic_embeddings": "topics", "word_embeddings": "words", "topic_weights": "topic_mass", "word_weights": "word_mass"})


def nstm_numbers(counts, emb, vocabulary, n_topics, settings):
    from topmost.models import NSTM
    net = NSTM(counts.shape[1], n_topics, settings["hidden"][0], settings["dropout"])
    names = {"e1.weight": "encoder.words.table.T", "e1.bias": "encoder.words.bias", **layer_names({"e2": "encoder.heads.0.0"}), "mean_bn.bias": "encoder.heads.0.1.bias",
             "word_embeddings": "words.weight", "topic_embeddings": "topics.weight"}
    return network_numbers(net, dense(counts)[:200], names)


def main(jobs):
    for job in jobs:
        data = Path(job["data"])
        counts, emb = sparse.csr_matrix(sparse.load_npz(data / "counts.npz")), np.load(data / "embeddings.npy")
        random.seed(job["seed"]); np.random.seed(job["seed"]); torch.manual_seed(job["seed"])
        start = time.process_time()
        found = globals()[job["function"]](counts, emb, json.loads((data / "vocabulary.json").read_text()), job["n_topics"], job["settings"])
        seconds, part = time.process_time() - start, job["out"] + ".part"
        with open(part, "wb") as file: np.savez_compressed(file, job=json.dumps(job["key"]), seconds=seconds, **{name: np.asarray(array, np.float32) for name, array in found.items()})
        os.replace(part, job["out"])
        print(f"theirs  {job['function']:16} seed {job['seed']}: {seconds:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.loads(Path(sys.argv[1]).read_text()))

"""Our models with the choices of TopMost and `fastopic`, so that what is left to compare is the mathematics. Each class says what it takes over."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from saetm.baselines import LDA
from saetm.embedding_baselines import NSTM, TSCTM, CombinedTM, FASTopic, squared_distances
from saetm.vae_baselines import AVITM, ETM, DecTM, draw_gaussian, gaussian_kl, mixture_loss, shift_norm, softmax_loss


class OnlineLDA(LDA):
    "gensim's online updates: a step after each 2,000 documents, taken as they come, of size (1 + pass + documents of the first pass / 2,000) ** -1/2; 50 updates of a document."
    def _fit(self, counts, emb, on_step, chunk=2000):
        from sklearn.decomposition import LatentDirichletAllocation
        n_docs, seen = counts.shape[0], 0
        lda = self._lda = LatentDirichletAllocation(self.n_topics, learning_method="online", batch_size=chunk, total_samples=n_docs, learning_offset=0,
            learning_decay=0.5, max_doc_update_iter=50, random_state=self.seed)
        for round in range(self.settings_["passes"]):
            for start in range(0, n_docs, chunk):
                lda.n_batch_iter_ = 1 + round + seen / min(chunk, n_docs)           # the step's size is this ** -learning_decay
                lda.partial_fit(counts[start:start + chunk])
                if round == 0: seen += min(chunk, n_docs - start)
        self.components_ = lda.components_ / lda.components_.sum(1, keepdims=True)


class OneMask(nn.Dropout):
    "Give all that read the same tensor the same mask; ours draws one for each head of the encoder."
    def forward(self, hidden):
        if getattr(self, "read", None) is not hidden: self.read, self.masked = hidden, super().forward(hidden)
        return self.masked


def with_one_mask(net):
    "Put it into an encoder."
    net["encoder"].dropout = OneMask(net["encoder"].dropout.p)
    return net


def set_norms(net, **values):
    "Set what all batch norms of a network have in common."
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d): layer.__dict__.update(values)
    return net


class WeightsAsTopics:
    "Topics are the decoder's weights, as they are in front of its batch norm."
    def topics(self): return F.softmax(self.net_["beta"].weight.T, 1)


class TopMostAVITM(WeightsAsTopics, AVITM):
    "One dropout mask, means and variances that move by 0.001 a step, weights as topics."
    def build(self, **settings): return set_norms(with_one_mask(super().build(**settings)), momentum=0.001, eps=1e-3)


class TopMostDecTM(TopMostAVITM, DecTM):
    "The same for DecTM."


class TopMostETM(ETM):
    "One dropout mask, topic vectors that start as normal numbers, 1e-12 in place of 1e-6 beside a word's probability."
    def build(self, **settings):
        net = with_one_mask(super().build(**settings))
        nn.init.normal_(net["topics"].weight)
        return net

    def loss(self, docs):
        mean, log_var = self.encode(docs)
        return mixture_loss(docs, F.softmax(draw_gaussian(mean, log_var), 1), self.topics(), 1e-12), gaussian_kl(mean, log_var)


class EmbeddingEncoder(nn.Module):
    "An encoder of embeddings, with the layers of ours."
    def __init__(self, d_embed, n_topics, hidden, dropout):
        super().__init__()
        self.layers, self.dropout = nn.ModuleList(nn.Linear(a, b) for a, b in zip((d_embed, *hidden), hidden)), nn.Dropout(dropout)
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(hidden[-1], n_topics), shift_norm(n_topics)) for _ in range(2))

    def forward(self, hidden):
        for layer in self.layers: hidden = F.softplus(layer(hidden))
        return [head(self.dropout(hidden)) for head in self.heads]


class TopMostCombinedTM(WeightsAsTopics, CombinedTM):
    "The encoder sees the embedding alone, through a layer as wide as the vocabulary; the rest as in TopMost's ProdLDA."
    def build(self, hidden, dropout, **rest):
        net = AVITM.build(self, hidden, dropout, **rest)
        net["contextual"], net["encoder"] = nn.Linear(self.d_embed_, self.n_words_), EmbeddingEncoder(self.n_words_, self.n_topics, hidden, dropout)
        return set_norms(with_one_mask(net), momentum=0.001, eps=1e-3)

    def encode(self, docs): return self.net_["encoder"](self.net_["contextual"](docs[1]))


class TopMostTSCTM(WeightsAsTopics, TSCTM):
    "1e-5 beside the variances of the batch norms, weights as topics."
    def build(self, **settings): return set_norms(super().build(**settings), eps=1e-5)


class PackageFASTopic(FASTopic):
    "Transport plans of 1, 51, 101, ... rounds from a flat start, the first that is near enough."
    def relate(self, x, y, mass, sharpness):
        cost, columns = squared_distances(x, y), F.softmax(mass, 0)
        kernel, u, rounds, error = torch.exp(-sharpness * cost), torch.ones_like(cost[:, 0]), 0, 1.0
        while error > 5e-3:
            v = columns / (u @ kernel)
            u, rounds = 1 / len(x) / (kernel @ v), rounds + 1
            if rounds % 50 == 1: error = float((v * (u @ kernel) - columns).abs().sum())
        plan = u[:, None] * kernel * v
        return plan * len(x), (plan * cost).sum()


class TopMostNSTM(NSTM):
    "Word vectors that are learned, words of a document by a softmax of all its counts, gradients through every round of a plan."
    def build(self, **settings):
        self.word_vectors_ = np.zeros((self.n_words_, 200))
        net = super().build(**settings)
        net["words"].weight.requires_grad_(True)
        return net

    def loss(self, docs):
        cosines, theta = self.cosines(), self.theta(docs)
        cost, rows, columns = 1 - cosines, theta.T, F.softmax(docs.dense(), 1).T                 # (T, V), (T, n), (V, n)
        kernel, u, rounds, error = torch.exp(-self.settings_["sharpness"] * cost), torch.full_like(rows, 1 / len(rows)), 0, 1.0
        while error > 5e-3:
            u, rounds = rows / (kernel @ (columns / (kernel.T @ u))), rounds + 1
            if rounds % 20 == 1:
                v = columns / (kernel.T @ u)
                u = rows / (kernel @ v)
                error = float((v * (kernel.T @ u) - columns).abs().sum(0).max())
        return self.settings_["word_weight"] * softmax_loss(docs, theta @ cosines), (u * ((kernel * cost) @ v)).sum(0)


CHOICES = dict(lda=OnlineLDA, avitm=TopMostAVITM, dectm=TopMostDecTM, etm=TopMostETM, combinedtm=TopMostCombinedTM, tsctm=TopMostTSCTM, fastopic=PackageFASTopic, nstm=TopMostNSTM)

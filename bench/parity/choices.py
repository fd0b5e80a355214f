"""Our models with the choices of TopMost and `fastopic`, so that what is left to compare is the mathematics. Each class says what it takes over."""
from torch import nn
from torch.nn import functional as F

from saetm.baselines import LDA
from saetm.vae_baselines import AVITM, ETM, DecTM, draw_gaussian, gaussian_kl, word_loss


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

    def loss(self, bow):
        mean, log_var = self.encode(bow)
        theta = F.softmax(draw_gaussian(mean, log_var), 1)
        return word_loss(bow, (theta @ self.topics() + 1e-12).log()), gaussian_kl(mean, log_var)


CHOICES = dict(lda=OnlineLDA, avitm=TopMostAVITM, dectm=TopMostDecTM, etm=TopMostETM)

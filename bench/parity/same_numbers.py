"""The same numbers on both sides: LDA from the same draws, and for each network the loss and gradients of one batch with the same parameters and the same draws."""
import numpy as np
import torch

from saetm.baselines import BASELINES


def lda(theirs, counts, n_topics, passes):
    "How far topics of ours are from theirs, in total variation, at most."
    model = BASELINES["lda"](n_topics, 0, passes=passes).fit(counts)
    return dict(what=f"topics after {passes} passes from the same draws, total variation", difference=float(np.abs(model.components_ - theirs["beta"]).sum(1).max() / 2))


def network(model, theirs, counts, emb):
    "Loss of a batch on both sides, and how far its gradients lie apart."
    model.n_words_, model.d_embed_ = counts.shape[1], emb.shape[1]
    model.settings_ = {**model.defaults, **model.settings}
    model.steps_, model.step_ = 1, 1
    model.net_ = model.build(**model.settings_).train()
    parameters = {name: value for name, value in model.net_.named_parameters() if value.requires_grad}
    names = {name.removeprefix("value ") for name in theirs if name.startswith("value ")}
    if names != set(parameters): raise ValueError(f"{model.name}: parameters differ: {', '.join(sorted(names ^ set(parameters)))}")
    with torch.no_grad():
        for name, value in parameters.items(): value.copy_(torch.from_numpy(theirs[f"value {name}"]))
    torch.manual_seed(0)
    loss = sum(term.mean() for term in model.loss(model.read(counts, emb, slice(None))))
    loss.backward()
    ours = torch.cat([value.grad.flatten() for value in parameters.values()])
    gradient = torch.cat([torch.from_numpy(theirs[f"gradient {name}"]).flatten() for name in parameters])
    return dict(what=f"loss of 200 documents, {float(loss):.4f} and {float(theirs['loss']):.4f}; length of the difference of the gradients over their length", difference=float((ours - gradient).norm() / gradient.norm()))

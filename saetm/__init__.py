__version__ = "0.1.0"

_home = {
    "SAETM": "model", "Recipe": "settings", "load_corpus": "data", "load_documents": "corpus", "SAE": "sae",
    "fit_sae": "sae_fitting", "sample_ctm": "ctm", "evaluate": "evaluation", "evaluate_model": "evaluation",
    "name_topics": "judges", "topic_relevance": "judges", "calibrate_judge": "calibration",
    "caption_images": "captions", "load_captions": "captions", "EndpointCaptioner": "captions",
    "TransformersCaptioner": "captions", "EndpointJudge": "endpoint", "TransformersJudge": "endpoint",
    "LikelihoodJudge": "associations", "EncoderJudge": "associations", "compose": "analysis", "timeline": "analysis",
    "fit_baseline": "baselines", "baseline_words": "baselines",
}
__all__ = list(_home)


def __getattr__(name):
    "Load what the package offers at its first use, so that `import saetm` stays quick."
    if name not in _home: raise AttributeError(f"module 'saetm' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module("saetm." + _home[name]), name)


def __dir__(): return sorted([*globals(), *_home])

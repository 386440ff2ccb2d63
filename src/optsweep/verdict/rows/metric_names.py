"""What the name of a metric says: which data it is on, and whether lower is better."""

import re
from typing import Literal

Split = Literal["test", "val", "train", ""]

_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("test", "testing", "holdout", "heldout"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation", "cv"), "val"),
    **dict.fromkeys(("train", "training", "fit"), "train"),
}
_LOSSES = frozenset(
    (
        *("loss", "losses", "logloss", "nll", "bce", "ce", "entropy", "perplexity", "ppl"),
        *("error", "errors", "err", "mse", "rmse", "mae", "mape", "msle", "rmsle"),
        *("wer", "cer", "brier", "fid", "deviance", "regret"),
    )
)
_SCORES = frozenset(
    (
        *("acc", "accuracy", "acc1", "acc5", "top1", "top5", "correct", "score", "r2"),
        *("f1", "auc", "auroc", "auprc", "ap", "map", "precision", "recall", "kappa", "mcc"),
        *("sensitivity", "specificity", "iou", "miou", "dice", "bleu", "rouge", "mrr", "ndcg"),
        *("reward", "return"),
    )
)


def split_of(name: str) -> Split:
    """The data that a metric is on, by its name; empty where the name does not say it."""
    return next((_SPLITS[word] for word in words(name) if word in _SPLITS), "")


def is_loss(name: str) -> bool | None:
    """Whether lower is better, by a metric's name; None where the name does not say it."""
    found = set(words(name))
    if found & _LOSSES:
        return not found & {"neg", "negative"}  # scikit-learn's scorers: neg_log_loss
    return False if found & _SCORES else None


def words(name: str) -> list[str]:
    """The words of a name in lower case: `valLoss`, `val/loss` and `valloss` are `val`, `loss`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    found = re.findall(r"[a-z0-9]+", spaced.lower())
    return [part for word in found for part in _parts(word)]


def _parts(word: str) -> list[str]:
    """A word, or the two that it is put together from."""
    for split in _SPLITS:
        rest = word.removeprefix(split)
        if rest != word and rest in _LOSSES | _SCORES:
            return [split, rest]
    return [word]

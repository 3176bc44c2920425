"""The points of the grid: networks, and what is made with and of them."""

from __future__ import annotations

from typing import NamedTuple

INTEGER = ("int8", "int16")
PRECISIONS = ("float32", "int16", "int8")
NO_PREPROCESSOR = "none"
PRETRAINED = "pretrained"  # the training of a model that is given by files


class Network(NamedTuple):
    """The weights of one model after one training."""

    model: str
    training: str


class Craft(NamedTuple):
    """One crafting job."""

    model: str
    training: str
    source: str
    attack: str


class StaticSamples(NamedTuple):
    """Adversarial versions of all training samples, made once for a network that is not trained on them."""

    model: str
    training: str
    attack: str


class Evaluation(NamedTuple):
    """One evaluation of crafted samples."""

    model: str
    training: str
    source: str
    attack: str
    preprocessor: str
    target: str


class Detection(NamedTuple):
    """One judgement of crafted samples by a detector."""

    model: str
    training: str
    source: str
    attack: str
    detector: str
    target: str


def unique(items) -> list:
    """Return the items without repetitions, in their order."""
    return list(dict.fromkeys(items))

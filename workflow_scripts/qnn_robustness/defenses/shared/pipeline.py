"""A network with a preprocessor in front as one Foolbox model, for attackers who know the defense."""

from __future__ import annotations

import hashlib
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import BOUNDS
from qnn_robustness.defenses.shared.preprocessor import DEFENDER, Preprocessor

ATTACKER = DEFENDER + 1  # the attacker does not know the random numbers of the deployed defense


def defended(model: Model, preprocessor: Preprocessor, draws: int, on_lattice: bool) -> Model:
    """Return `model` with `preprocessor` in front, as an attacker sees it.

    The forward pass is the defense itself; the backward pass is its `pull_back` (BPDA, Athalye et al. 2018,
    section 4.1), or straight through. For a randomised preprocessor the logits are the mean over `draws`
    draws, and so are their gradients (EOT, section 4.2). The random numbers are a function of the input, rounded
    to 8 bits, and none of the deployed defense: every other image meets fresh ones, and a sample's result depends
    neither on its batch nor on how often others were tried. With `on_lattice` inputs are first rounded to 8 bits,
    straight through; `model` must not round its own.
    """
    front = _Front(preprocessor, draws if preprocessor.randomised else 1, on_lattice)
    if isinstance(model, foolbox.TensorFlowModel):
        differentiable = _differentiable(front)
        return foolbox.TensorFlowModel(lambda inputs: _mean(model(differentiable(inputs)), front.draws), BOUNDS)

    def scores(inputs: np.ndarray) -> np.ndarray:
        return _mean(model(front.outputs(inputs, front.randomness(inputs))), front.draws)

    return foolbox.NumPyModel(scores, BOUNDS, data_format="channels_last")


def _number(image: np.ndarray) -> int:
    """Return a number of 64 bits that stands for an image."""
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little")


class _Front:
    """The preprocessor on inputs float32 [R, H, W, C], `draws` times: outputs [draws * R, H, W, C]."""

    def __init__(self, preprocessor: Preprocessor, draws: int, on_lattice: bool):
        self.preprocessor, self.draws, self.on_lattice = preprocessor, draws, on_lattice

    def randomness(self, inputs: np.ndarray) -> np.ndarray | None:
        """Return draws [draws * R, D] for each input; None for a deterministic preprocessor."""
        if not self.preprocessor.randomised:
            return None
        images = np.rint(inputs * 255).astype(np.uint8)
        generators = [np.random.default_rng([ATTACKER, _number(image)]) for image in images]
        return np.concatenate([self.preprocessor.draw(generators, inputs.shape[1:]) for _ in range(self.draws)])

    def seen(self, inputs: np.ndarray) -> np.ndarray:
        """Return what the preprocessor gets: the inputs, on the lattice if wanted, once for each draw."""
        if self.on_lattice:
            inputs = np.rint(inputs * np.float32(255)) / np.float32(255)
        return np.tile(inputs, (self.draws, 1, 1, 1))

    def outputs(self, inputs: np.ndarray, randomness: np.ndarray | None) -> np.ndarray:
        return self.preprocessor.apply(self.seen(inputs), randomness)

    def gradients(self, upstream: np.ndarray, inputs: np.ndarray, randomness: np.ndarray | None) -> np.ndarray:
        """Return gradients [R, H, W, C] by the inputs for gradients by the outputs, summed over the draws."""
        pulled = self.preprocessor.pull_back(upstream, self.seen(inputs), randomness)
        return pulled.reshape(self.draws, *inputs.shape).sum(axis=0)


def _differentiable(front: _Front) -> Any:
    """Return the front as a function of eager TensorFlow tensors with the gradient of `front`."""
    import tensorflow as tf  # not needed where the network is a .tflite file

    @tf.custom_gradient
    def run(inputs):
        values = inputs.numpy()
        randomness = front.randomness(values)

        def backward(upstream):
            return tf.convert_to_tensor(front.gradients(upstream.numpy(), values, randomness))

        return tf.convert_to_tensor(front.outputs(values, randomness)), backward

    return run


def _mean(logits: Any, draws: int) -> Any:
    """Return logits [R, K] as the mean over draws of logits [draws * R, K]."""
    tensor = ep.astensor(logits)
    return tensor.reshape((draws, -1, tensor.shape[-1])).mean(axis=0).raw

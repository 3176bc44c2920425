"""A network with a preprocessor in front as one Foolbox model, for attackers who know the defense."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import BOUNDS
from qnn_robustness.common.distances import to_unit
from qnn_robustness.defenses.shared.preprocessor import Preprocessor
from qnn_robustness.models.density.pixel_cnn import PixelCNN

ATTACKER = tuple(b"attacker")  # ends the seeds: the attacker does not know the random numbers of the deployed defense


Front = Preprocessor | None  # None: the network sees its input as it is


def runs_of(fronts: Sequence[Front], draws: int) -> list[Front]:
    """Return the fronts behind which the network is run for one input: randomised ones `draws` times."""
    return [front for front in fronts for _ in range(draws if front is not None and front.randomised else 1)]


def defended(model: Model, runs: Sequence[Front], on_lattice: bool, fresh_draws: bool = True) -> Model:
    """Return `model` behind one or several fronts, as an attacker sees it.

    The forward pass is the defense itself; the backward pass is its `pull_back` (BPDA, Athalye et al. 2018,
    section 4.1), or straight through. Logits are the mean over all `runs`, and so are their gradients: over the draws
    of a randomised preprocessor (EOT, section 4.2), or over a network and its squeezed inputs, which a sample has to
    fool all alike to be detected by none (He et al. 2017). The random numbers are none of the deployed defense. With
    `fresh_draws` they are a function of the input, rounded to 8 bits: every other image meets other ones. Without,
    all images meet the same: a search that compares scores would take the luck of a draw for progress, and end there.
    Either way a sample's result depends neither on its batch nor on how often others were tried. With `on_lattice`
    inputs are first rounded to 8 bits, straight through; `model` must not round its own.
    """
    front = _Fronts(runs, on_lattice, fresh_draws)
    if isinstance(model, foolbox.TensorFlowModel):
        differentiable = _differentiable(front)
        return foolbox.TensorFlowModel(lambda inputs: _mean(model(differentiable(inputs)), len(runs)), BOUNDS)

    def scores(inputs: np.ndarray) -> np.ndarray:
        return _mean(model(front.outputs(inputs, front.randomness(inputs))), len(runs))

    return foolbox.NumPyModel(scores, BOUNDS, data_format="channels_last")


def rejecting(
    model: Model, runs: Sequence[Front], threshold: float, on_lattice: bool, density: PixelCNN | None = None
) -> foolbox.TensorFlowModel:
    """Return a network watched by a detector as one network with one class more: `rejected`.

    Its logits [R, K + 1] are those of `model` and, last, the largest of them plus the score of the detector less the
    `threshold`: so the arg-max is `rejected` where the detector rejects (Carlini and Wagner 2017 combine a classifier
    and a detector likewise). `runs` are None, for the network itself, and the squeezers; gradients of the score pass
    these as those of `defended` do. The score is that of softmax outputs, also where deployed networks round these;
    with a `density` it is the bits per dimension of the input, and its gradient that of the density model.
    `model` needs gradients, and must not round its own inputs.
    """
    import tensorflow as tf  # not needed where the network is a .tflite file

    judged = _judged(model, runs, on_lattice, density)

    def logits(inputs: tf.Tensor) -> tf.Tensor:
        plain, scores = judged(inputs)
        rejected = tf.reduce_max(plain, axis=1) + scores - threshold
        return tf.concat([plain, rejected[:, None]], axis=1)

    return foolbox.TensorFlowModel(logits, BOUNDS)


def detector_scores(
    model: Model,
    runs: Sequence[Front],
    samples: np.ndarray,
    density: PixelCNN | None = None,
    batch_size: int = 250,
) -> np.ndarray:
    """Return the scores [N] of the detector of `rejecting` for samples (uint8 or float in [0, 1], [N, H, W, C])."""
    import tensorflow as tf

    judged = _judged(model, runs, False, density)
    batches = (to_unit(samples[i : i + batch_size]).astype(np.float32) for i in range(0, len(samples), batch_size))
    return np.concatenate(
        [np.empty(0, np.float32), *(judged(tf.convert_to_tensor(batch))[1].numpy() for batch in batches)]
    )


def _judged(
    model: Model, runs: Sequence[Front], on_lattice: bool, density: PixelCNN | None
) -> Callable[[Any], tuple[Any, Any]]:
    """Return a function from inputs to the logits [R, K] of the first run and the detector's scores [R].

    Scores that are no numbers are -inf, as in evaluation: they are above no threshold.
    """
    import tensorflow as tf

    differentiable = _differentiable(_Fronts(runs, on_lattice))
    if density is not None:
        bits = _bits_per_dimension(density)
        return lambda inputs: (model(differentiable(inputs)), _comparable(bits(inputs)))

    def judged(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        plain, *squeezed = tf.split(model(differentiable(inputs)), len(runs))
        distances = [tf.reduce_sum(tf.abs(tf.nn.softmax(plain) - tf.nn.softmax(other)), axis=1) for other in squeezed]
        return plain, _comparable(tf.reduce_max(distances, axis=0))

    return judged


def _comparable(scores: Any) -> Any:
    import tensorflow as tf

    return tf.where(tf.math.is_nan(scores), -np.inf, scores)


def _bits_per_dimension(density: PixelCNN) -> Callable[[Any], Any]:
    """Return `likelihood_scores` as a compiled function of tensors, which gradients pass as if nothing were rounded."""
    import tensorflow as tf

    from qnn_robustness.training.density.network import TrainablePixelCNN

    network = TrainablePixelCNN(density.channels, density.width, density.layers, density.mixtures)
    for name, values in density.weights.items():
        network.named[name].assign(values)

    @tf.function(reduce_retracing=True)
    def bits(inputs):
        values = inputs * 255
        return network.bits_per_dimension(values + tf.stop_gradient(tf.round(values) - values))

    return bits


def _number(image: np.ndarray) -> int:
    """Return a number of 64 bits that stands for an image."""
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little")


class _Fronts:
    """The fronts of all runs on inputs float32 [R, H, W, C]: outputs [runs * R, H, W, C]."""

    def __init__(self, runs: Sequence[Front], on_lattice: bool, fresh_draws: bool = True):
        self.runs, self.on_lattice, self.fresh_draws = runs, on_lattice, fresh_draws

    def randomness(self, inputs: np.ndarray) -> list[np.ndarray | None]:
        """Return the draws [R, D] of each run; None where it is deterministic."""
        generators = []
        if any(run is not None and run.randomised for run in self.runs):
            images = np.rint(inputs * 255).astype(np.uint8)
            numbers = [_number(image) if self.fresh_draws else 0 for image in images]
            generators = [np.random.default_rng([number, *ATTACKER]) for number in numbers]
        return [None if run is None else run.draw(generators, inputs.shape[1:]) for run in self.runs]

    def seen(self, inputs: np.ndarray) -> np.ndarray:
        """Return what the fronts get: the inputs, on the lattice if wanted."""
        return np.rint(inputs * np.float32(255)) / np.float32(255) if self.on_lattice else inputs

    def outputs(self, inputs: np.ndarray, randomness: Sequence[np.ndarray | None]) -> np.ndarray:
        seen = self.seen(inputs)
        pairs = zip(self.runs, randomness, strict=True)
        return np.concatenate([seen if run is None else run.apply(seen, draws) for run, draws in pairs])

    def gradients(
        self, upstream: np.ndarray, inputs: np.ndarray, randomness: Sequence[np.ndarray | None]
    ) -> np.ndarray:
        """Return gradients [R, H, W, C] by the inputs for gradients by the outputs, summed over the runs."""
        seen, parts = self.seen(inputs), np.split(upstream, len(self.runs))
        triples = zip(self.runs, parts, randomness, strict=True)
        return sum(part if run is None else run.pull_back(part, seen, draws) for run, part, draws in triples)


def _differentiable(front: _Fronts) -> Any:
    """Return the front as a function of eager TensorFlow tensors with its gradients."""
    import tensorflow as tf  # not needed where the network is a .tflite file

    @tf.custom_gradient
    def run(inputs):
        values = inputs.numpy()
        randomness = front.randomness(values)

        def backward(upstream):
            return tf.convert_to_tensor(front.gradients(upstream.numpy(), values, randomness))

        return tf.convert_to_tensor(front.outputs(values, randomness)), backward

    return run


def _mean(logits: Any, runs: int) -> Any:
    """Return logits [R, K] as the mean over runs of logits [runs * R, K]."""
    tensor = ep.astensor(logits)
    return tensor.reshape((runs, -1, tensor.shape[-1])).mean(axis=0).raw

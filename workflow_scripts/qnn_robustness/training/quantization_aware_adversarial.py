"""Adversarial fine-tuning through the fake-quantized network: robustness of the network that is deployed.

PGD adversarial training (Madry et al. 2018, equation 2.1) in which adversarial samples and loss are those of the
int8 network as `quantization.fake_quantized` imitates it; that module says how. The float32 weights which come out go
through the same conversion as all others.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.data.splits import to_unit
from qnn_robustness.quantization.fake_quantized import FakeQuantized
from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy
from qnn_robustness.training.fitting.perturbation import LinfAttack


def objective(
    network: keras.Model,
    material: Material,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    calibration_samples: int,
) -> Objective:
    """Return cross-entropy of the fake-quantized network on samples that are adversarial to it.

    `epsilon` and `step_size` are Linf distances for inputs in [0, 1]. Ranges of activations come from
    `calibration_samples` training samples, anew for every epoch.
    """
    return QuantizationAware(network, material, LinfAttack(epsilon, step_size, steps), calibration_samples)


class QuantizationAware(Objective):
    """Batch normalisation is folded into the weights: its statistics stay those of the network fine-tuned."""

    def __init__(self, network: keras.Model, material: Material, attack: LinfAttack, calibration_samples: int):
        super().__init__(network, material, attack)
        count = min(calibration_samples, len(material.train))
        drawn = np.random.default_rng(material.seed).choice(len(material.train), count, replace=False)
        self.calibration = to_unit(material.train.samples[np.sort(drawn)])
        self.quantized = FakeQuantized(network)

    def predict(self, samples: tf.Tensor) -> tf.Tensor:
        return self.quantized(samples)

    def refresh(self) -> None:
        self.quantized.calibrate(self.calibration)

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self.predict(self.adversarial(samples, labels, step))
        return tf.reduce_mean(cross_entropy(labels, logits)), logits

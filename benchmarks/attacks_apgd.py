"""APGD and Square beside those of the Adversarial Robustness Toolbox on a small network of handwritten digits.

Prints success rates at equal budgets and steps or queries, and the processor time. Run from the top folder:
    PYTHONPATH=workflow_scripts python benchmarks/attacks_apgd.py
"""

from __future__ import annotations

import time

import foolbox
import numpy as np
import tensorflow as tf
from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack
from art.estimators.classification import TensorFlowV2Classifier
from sklearn.datasets import load_digits

from qnn_robustness.attacks import apgd, square
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common.distances import distance

SAMPLES, STEPS, QUERIES = 400, 20, 1000
BUDGETS = {"linf": 0.15, "l2": 1.6}


def trained() -> tuple[tf.keras.Model, np.ndarray, np.ndarray]:
    """Return a network and the first test samples that it classifies right, [N, 16, 16, 1] in [0, 1]."""
    tf.keras.utils.set_random_seed(0)
    digits = load_digits()
    # Twice the size: the peaks of ART's L2 version of Square are not a number on 8 x 8 pixels.
    images = (digits.images / 16.0).astype(np.float32).repeat(2, axis=1).repeat(2, axis=2)[..., None]
    labels = digits.target.astype(np.int64)
    network = tf.keras.Sequential(
        [
            tf.keras.layers.Input((16, 16, 1)),
            tf.keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(32, activation="relu"),
            tf.keras.layers.Dense(10),
        ]
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=tf.keras.optimizers.Adam(0.003), loss=loss)
    network.fit(images[:1200], labels[:1200], epochs=12, batch_size=64, verbose=0)
    images, labels = images[1200:], labels[1200:]
    right = np.flatnonzero(network.predict(images, verbose=0).argmax(axis=1) == labels)[:SAMPLES]
    return network, images[right], labels[right]


def main() -> None:
    network, samples, labels = trained()
    signature = [tf.TensorSpec((None, 16, 16, 1), tf.float32)]
    model = foolbox.TensorFlowModel(tf.function(lambda x: network(x), input_signature=signature), bounds=(0, 1))
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    peer = TensorFlowV2Classifier(network, 10, (16, 16, 1), loss_object=loss, clip_values=(0, 1))

    def report(name: str, norm: str, points: np.ndarray, began: float) -> None:
        spent = time.process_time() - began
        points = np.nan_to_num(points, nan=0.5).astype(np.float32)
        fooled = network.predict(points, verbose=0).argmax(axis=1) != labels
        inside = distance(norm, points, samples) <= BUDGETS[norm] + 1e-5
        success = f"success {(fooled & inside).mean():.3f}  beyond the budget {(~inside).mean():.3f}"
        print(f"{name:20s} {success}  {spent:6.2f} s")

    for norm, budget in BUDGETS.items():
        order = np.inf if norm == "linf" else 2
        for name, attack, other in (
            (
                f"apgd {norm}",
                apgd.build(norm, loss="ce", steps=STEPS, restarts=1, targets=9),
                AutoProjectedGradientDescent(
                    peer, norm=order, eps=budget, eps_step=2 * budget, max_iter=STEPS, nb_random_init=1,
                    batch_size=SAMPLES, loss_type="cross_entropy", verbose=False,
                ),
            ),
            (
                f"square {norm}",
                square.build(norm, queries=QUERIES, initial_share=0.8),
                SquareAttack(
                    peer, norm=order, eps=budget, max_iter=QUERIES, p_init=0.8, nb_restarts=1, batch_size=SAMPLES,
                    verbose=False,
                ),
            ),
        ):  # fmt: skip
            began = time.process_time()
            with SampleStreams(0, range(len(samples)), samples.shape[1:]).serving_eagerpy():
                _, points, _ = attack(model, tf.constant(samples), tf.constant(labels), epsilons=budget)
            report(name, norm, points.numpy(), began)
            np.random.seed(0)  # noqa: NPY002, the generator that ART draws from
            began = time.process_time()
            report(f"{name} (ART)", norm, other.generate(samples, labels), began)


if __name__ == "__main__":
    main()

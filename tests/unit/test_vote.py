"""The vote of three precisions: the count, its records, and attacks on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from qnn_robustness.attacks.crafting.craft import Setting, craft
from qnn_robustness.attacks.crafting.sources import View, module_for, vote
from qnn_robustness.attacks.crafting.sources.differentiable import seen
from qnn_robustness.common import registry
from qnn_robustness.common.vote import MEMBERS, majority
from qnn_robustness.evaluation.records import load_target
from qnn_robustness.evaluation.vote import adversarial_vote, clean_vote
from qnn_robustness.evaluation.worst_case import part

ROOT = Path(__file__).resolve().parents[2]
RESNET = ROOT / "reference_models" / "cifar10_resnet8" / "pgd_adversarial"
KERNELS = ["tensorflow", "reference", "builtin"]
NO_PREPROCESSOR = {"method": None, "parameters": {}}


def counted(votes: tuple[int, int, int]) -> int:
    """Return the class with two votes or more, or that of the first voter, float32."""
    ((winner, number),) = Counter(votes).most_common(1)
    return winner if number > 1 else votes[0]


def test_the_class_with_most_votes_wins_and_float32_where_all_differ() -> None:
    votes = list(product(range(3), repeat=3))
    prediction, split = majority(*np.array(votes).T)
    assert prediction.tolist() == [counted(row) for row in votes]
    assert split.tolist() == [len(set(row)) == 3 for row in votes]


def member(kernels: str, **columns: list) -> pd.DataFrame:
    """Return records on one kernel set, and others on a set that does not vote."""
    rows = pd.DataFrame({"kernels": kernels, "sample": [4, 7, 9], "label": [1, 2, 0], **columns})
    other = rows.assign(kernels="xnnpack", **{name: 5 for name in columns if name.endswith("prediction")})
    return pd.concat([other, rows.iloc[::-1]], ignore_index=True)


def test_records_of_the_vote_are_counted_by_hand() -> None:
    clean = {
        name: member(kernels, prediction=votes, correct=True, tie=False, precision=name)
        for name, kernels, votes in zip(MEMBERS, KERNELS, ([1, 0, 2], [0, 2, 1], [1, 2, 0]), strict=True)
    }
    records = clean_vote(clean, KERNELS)
    assert records["sample"].tolist() == [4, 7, 9]
    assert records["prediction"].tolist() == [1, 2, 2]
    assert records["correct"].tolist() == [True, True, False]
    assert records["tie"].tolist() == [False, False, True]
    assert records["kernels"].unique().tolist() == ["tensorflow+reference+builtin"]
    assert records["precision"].unique().tolist() == ["vote"]

    attacked = {
        name: member(
            kernels, adversarial_prediction=votes, adversarial_correct=True, adversarial_tie=False,
            target_correct=False, seed=0, budget=np.nan, target=name, linf=0.1,
        )
        for name, kernels, votes in zip(MEMBERS, KERNELS, ([1, 1, 0], [0, 1, 1], [0, 2, 2]), strict=True)
    }  # fmt: skip
    under_attack = adversarial_vote(attacked, records, KERNELS)
    assert under_attack["adversarial_prediction"].tolist() == [0, 1, 0]
    assert under_attack["adversarial_correct"].tolist() == [False, False, True]
    assert under_attack["adversarial_tie"].tolist() == [False, False, True]
    assert under_attack["target_correct"].tolist() == [True, True, False], "what the vote says of the clean samples"
    assert under_attack["target"].unique().tolist() == ["vote"]
    assert under_attack["linf"].tolist() == [0.1] * 3

    attacked["int16"] = attacked["int16"].replace({"sample": {9: 8}})
    with pytest.raises(ValueError, match="int16"):
        adversarial_vote(attacked, records, KERNELS)


def test_samples_made_for_one_voter_are_static() -> None:
    pairs = [("vote", "vote"), ("int8", "vote"), ("vote", "int8"), ("int8", "int8"), ("int16", "int8")]
    records = pd.DataFrame(pairs, columns=["source", "target"]).assign(through="none", preprocessor="none")
    assert part(records).tolist() == ["adaptive", "static", "transfer", "adaptive", "transfer"]


# --- attacks -----------------------------------------------------------------------------------------------

SIZE, CLASSES = 64, 3


def members(classes: int) -> np.ndarray:
    """Return the weights of three linear networks that are alike, float32 [3, SIZE, classes]."""
    random = np.random.default_rng(0)
    return random.normal(size=(3, SIZE, classes)) + 0.5 * random.normal(size=(SIZE, classes))


def linear(weights: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda inputs: tf.reshape(inputs, (-1, SIZE)) @ weights.astype(np.float32)


def votes(weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the majority for images, counted."""
    predictions = [(images.reshape(len(images), SIZE) @ own).argmax(axis=1) for own in weights]
    return np.array([counted(row) for row in zip(*predictions, strict=True)])


def test_scores_have_the_majority_on_top_and_the_gradient_of_the_mean() -> None:
    weights, images = members(CLASSES), np.random.default_rng(1).integers(0, 256, (500, 8, 8, 1), dtype=np.uint8)
    inputs = tf.constant((images / 255).astype(np.float32))
    slopes = np.random.default_rng(2).normal(size=(500, CLASSES)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = vote.voted([linear(own) for own in weights])(inputs)
        loss = tf.reduce_sum(logits * slopes)
    mean = inputs.numpy().reshape(500, SIZE) @ weights.mean(axis=0)
    agreed = mean.argmax(axis=1) == votes(weights, images)
    assert (~agreed).sum() > 10, "else the mean would do"
    np.testing.assert_array_equal(logits.numpy().argmax(axis=1), votes(weights, images))
    np.testing.assert_allclose(logits.numpy()[agreed], mean[agreed], rtol=1e-4, atol=1e-4)
    gradient = tape.gradient(loss, inputs).numpy().reshape(500, SIZE)
    np.testing.assert_allclose(gradient, slopes @ weights.mean(axis=0).T, rtol=1e-4, atol=1e-5)


def test_an_attacker_who_knows_the_vote_fools_more_votes() -> None:
    weights, images = members(2), np.random.default_rng(3).integers(0, 256, (150, 8, 8, 1), dtype=np.uint8)
    labels = votes(weights, images)

    def fooled(logits: Callable[[tf.Tensor], tf.Tensor]) -> int:
        model = seen(logits, (8, 8, 1), View(True, (images / 255).astype(np.float32)))
        parameters = {"steps": 3, "relative_step_size": 0.7, "restarts": 1}
        setting = Setting(registry.load("attacks", "pgd"), "linf", [16 / 255], [0], True, 150, parameters=parameters)
        adversarial = craft(setting, model, images, labels).adversarial[0, 0]
        return int((votes(weights, adversarial) != labels).sum())

    networks = [linear(own) for own in weights]
    static = max(fooled(network) for network in networks)
    adaptive = fooled(vote.voted(networks))
    assert adaptive > 1.2 * static, (adaptive, static)


def test_the_attacked_vote_is_that_of_the_files() -> None:
    paths = [str(RESNET / name) for name in ("float32.keras", "int16.tflite", "int8.tflite")]
    kernels = ["tensorflow", "reference", "reference"]
    images = np.random.default_rng(4).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    images[6:] //= 8  # dark ones, so that not all classes are the same
    targets = zip(MEMBERS, paths, kernels, strict=True)
    predictions = [load_target(*target, NO_PREPROCESSOR)(images, np.arange(12)).argmax(axis=1) for target in targets]
    assert module_for("vote", "score", "+".join(kernels)) == vote.__name__
    inputs = (images / 255).astype(np.float32)
    model = vote.load(paths, "+".join(kernels), View(True, inputs))
    np.testing.assert_array_equal(model(tf.constant(inputs)).numpy().argmax(axis=1), majority(*predictions)[0])
    assert vote.mismatches(paths, "+".join(kernels), inputs) == 0

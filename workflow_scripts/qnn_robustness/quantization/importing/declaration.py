"""What the configuration declares about a model's files, and the checks that need no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import Split, stratified, to_unit

CHECKED = 200  # test samples on which the clean accuracy is compared with the declared minimum
COMMON_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-128.0, 127.0))
NEAR = 0.75  # share that a range in use has to have in common with what an input can represent
CLEARLY = 0.1  # by how much another scaling has to be more accurate for the declared one to be wrong
SIGNIFICANCE = 0.01  # of the chance that, on samples so few, another declaration does better by luck
NAMED = 20  # classes that a message lists at most
IMAGENET = "mean: [123.675, 116.28, 103.53], deviation: [58.395, 57.12, 57.375]"
SYMMETRIC = 1e-4  # of the greatest value: how near to its opposite the least one of an int16 input is


@dataclass(frozen=True)
class Declaration:
    """The declaration for one file of the model `name`.

    `output` is `logits` or `softmax`. `classes` are those of the data set, `shape` its [H, W, C].
    """

    name: str
    precision: str
    scaling: InputScaling
    output: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    minimum_accuracy: float | None

    @classmethod
    def of(cls, name: str, precision: str, entry: dict[str, Any], summary: dict[str, Any]) -> Declaration:
        """Return the declaration of an entry of `models` (`input`, `output`, `labels`, `minimum_accuracy`).

        `summary` is that of the data set. Raises UserError when the two contradict each other.
        """
        classes, shape = tuple(summary["classes"]), tuple(summary["image_shape"])
        labels = entry["labels"]
        if labels and tuple(labels) != classes:
            raise UserError(
                f"models.{name}.labels: {list(labels)} are not the classes of the data set, {list(classes)}; "
                "write the labels of the network under `classes` of the data set, in the order of its outputs"
            )
        try:
            own = entry["input"]["range"] or summary.get("feature_range") or [0.0, 1.0]
            scaling = InputScaling.declared({**entry["input"], "range": own}, shape[-1])
        except UserError as error:
            raise UserError(f"models.{name}.input.{error}") from None
        return cls(name, precision, scaling, entry["output"], classes, shape, entry["minimum_accuracy"])

    @property
    def place(self) -> str:
        """Return the key of the file in the configuration, for messages."""
        return f"models.{self.name}.files.{self.precision}"

    def check_ends(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        """Raise UserError unless the network takes the data set's images and has an output for each class.

        Shapes are those for one sample: [H, W, C] and [K].
        """
        if tuple(input_shape) != self.shape:
            raise UserError(
                f"{self.place}: takes inputs of shape {list(input_shape)}, the data set has {list(self.shape)}; "
                "set image_shape of the data set to that of the network"
            )
        if reason := wrong_outputs(output_shape, self.classes):
            raise UserError(f"{self.place}: {reason}")

    def check_output(self, is_softmax: bool) -> None:
        """Raise UserError when the declared kind of output is not the one found."""
        found = "softmax" if is_softmax else "logits"
        if found != self.output:
            raise UserError(
                f"{self.place}: gives {'probabilities (softmax)' if is_softmax else 'logits'}, "
                f"declared is output: {self.output}; write output: {found}"
            )

    def check_accuracy(self, predict: Callable[[np.ndarray], np.ndarray], test: Split) -> float:
        """Return the clean accuracy on a stratified part of the test samples.

        `predict` maps inputs in the network's own unit (float32 [N, H, W, C]) to scores [N, K].

        Raises UserError when another scaling in use, or another order of the classes, does better by more than luck
        explains, and below a declared minimum.
        """
        places = stratified(test.labels, min(CHECKED, len(test)))
        samples, labels = to_unit(test.samples[places]), test.labels[places]
        predicted = predict(self.scaling.apply(samples)).argmax(axis=1)
        accuracy = float((predicted == labels).mean())
        text = f"{self.place}: classifies {accuracy:.0%} of {len(labels)} test samples right"
        better = [
            *self._better_scalings(predict, samples, labels, predicted),
            *self._better_order(labels, predicted),
        ]
        if better:
            _, share, advice = max(better, key=lambda found: found[0])  # of equals the first one
            raise UserError(f"{text}; {advice} it would be {share:.0%}")
        if self.minimum_accuracy is not None and accuracy < self.minimum_accuracy:
            raise UserError(
                f"{text}, less than minimum_accuracy, {self.minimum_accuracy:.0%}; check the input scaling (input or "
                "RANGE), the order of the classes (classes or LABELS) and the images"
            )
        return accuracy

    def _better_scalings(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        samples: np.ndarray,
        labels: np.ndarray,
        predicted: np.ndarray,
    ) -> Iterator[tuple[float, float, str]]:
        """Yield mean of the classes' accuracies, accuracy and wording of other scalings in use that do clearly better.

        Clearly: in the mean of the classes' accuracies, which favours no constant answer, and in a paired test.
        """
        right, alternatives = predicted == labels, self._alternatives()
        balanced = _mean_of_classes(right, labels)
        if balanced >= 1 - CLEARLY:
            return
        for scaling, written in alternatives:
            other = predict(scaling.apply(samples)).argmax(axis=1) == labels
            gain = _mean_of_classes(other, labels)
            if gain > balanced + CLEARLY and _luck(other, right) < SIGNIFICANCE / len(alternatives):
                yield gain, float(other.mean()), f"with input: {{{written}}}"

    def _better_order(self, labels: np.ndarray, predicted: np.ndarray) -> Iterator[tuple[float, float, str]]:
        """Yield the same for the order of the classes that fits the answers best.

        Luck explains more here: of as many orders as move so many classes the best one was chosen.
        """
        count = len(self.classes)
        answers = np.zeros((count, count), int)
        np.add.at(answers, (labels, predicted), 1)
        preferred = 1e-3 * np.eye(count)  # of equals, the declared order
        _, output_of = linear_sum_assignment(answers + preferred, maximize=True)
        moved = int((output_of != np.arange(count)).sum())
        other = output_of[labels] == predicted
        orders = math.lgamma(count + 1) - math.lgamma(count - moved + 1)  # the logarithm of their number, at most
        if moved == 0 or math.log(_luck(other, predicted == labels)) + orders > math.log(SIGNIFICANCE):
            return
        gain = _mean_of_classes(other, labels)
        if gain <= _mean_of_classes(predicted == labels, labels):  # another constant answer
            return
        order = [self.classes[label] for label in np.argsort(output_of)]
        named = f"the order {','.join(order)}" if count <= NAMED else "another order"
        yield gain, float(other.mean()), f"with the classes in {named} (classes or LABELS)"

    def _alternatives(self) -> list[tuple[InputScaling, str]]:
        """Return other scalings in use, and how they are written."""
        orders = ("rgb", "bgr") if self.shape[-1] == 3 else ("rgb",)
        written = [f"range: [{low:g}, {high:g}]" for low, high in COMMON_RANGES]
        written += [f"range: [0, 255], {IMAGENET}"] if self.shape[-1] == 3 else []
        everything = [f"{part}, order: {order}" for part in written for order in orders]
        scalings = [(_declared(text, self.shape[-1]), text) for text in everything]
        return [(scaling, text) for scaling, text in scalings if scaling != self.scaling]


def wrong_outputs(shape: Sequence[int], classes: Collection[str]) -> str | None:
    """Return what is wrong with outputs of a shape [K] for classes, and what would be right."""
    if len(shape) != 1:
        return f"gives outputs of shape {list(shape)}; flatten them to one for each class"
    (outputs,) = shape
    if outputs == len(classes):
        return None
    if outputs == 1:
        return (
            f"has one output for {len(classes)} classes; give it one for each, such as [-x / 2, x / 2] for the logit x "
            "of a sigmoid"
        )
    return f"has {outputs} outputs, the data set has {len(classes)} classes ({', '.join([*classes][:12])})"


def _declared(text: str, channels: int) -> InputScaling:
    entry = {"mean": None, "deviation": None, **yaml.safe_load(f"{{{text}}}")}
    return InputScaling.declared(entry, channels)


def _luck(other: np.ndarray, found: np.ndarray) -> float:
    """Return the one-sided p-value of McNemar's exact test: is `other` (bool [N]) more often right than `found`?"""
    gained, lost = int((other & ~found).sum()), int((found & ~other).sum())
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained else 1.0


def _mean_of_classes(right: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def nearest_range(
    low: float, high: float, mean: Sequence[float] | None = None, deviation: Sequence[float] | None = None
) -> tuple[float, float] | None:
    """Return the range in common use that is about what an input can represent; None if there is none.

    About: the one that, less `mean` and over `deviation`, overlaps most, with at least NEAR of the union. The least
    value of an int16 input is always the opposite of the greatest one, and says nothing.
    """
    symmetric = abs(low + high) < SYMMETRIC * high
    channels = max(len(mean or [0]), len(deviation or [0]))

    def overlap(wanted: tuple[float, float]) -> float:
        declared = {"range": wanted, "mean": mean, "deviation": deviation, "order": "rgb"}
        first, last = InputScaling.declared(declared, channels).span
        if symmetric:
            return min(ratio := max(-first, last) / high, 1 / ratio)
        return (min(high, last) - max(low, first)) / (max(high, last) - min(low, first))

    best = max(COMMON_RANGES, key=overlap)
    return best if overlap(best) >= NEAR else None

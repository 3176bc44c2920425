"""What the configuration declares about a model's files, and the checks that need no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import Split, stratified, to_unit

CHECKED = 200  # test samples on which the clean accuracy is compared with the declared minimum
COMMON_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-128.0, 127.0))
CLEARLY = 0.1  # by how much another scaling has to be more accurate for the declared one to be wrong
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

    def check_ends(self, input_shape: tuple[int, ...], outputs: int) -> None:
        """Raise UserError unless the network takes the data set's images and has an output for each class."""
        if tuple(input_shape) != self.shape:
            raise UserError(
                f"{self.place}: takes inputs of shape {list(input_shape)}, the data set has {list(self.shape)}; "
                "set image_shape of the data set to that of the network"
            )
        if outputs != len(self.classes):
            raise UserError(
                f"{self.place}: has {outputs} outputs, the data set has {len(self.classes)} classes "
                f"({', '.join(self.classes[:12])})"
            )

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

        With a declared minimum, raises UserError below it, and when another scaling in use does clearly better (in the
        mean of the classes' accuracies, which favours no constant answer).
        """
        places = stratified(test.labels, min(CHECKED, len(test)))
        samples, labels = to_unit(test.samples[places]), test.labels[places]

        def right(scaling: InputScaling) -> np.ndarray:
            return predict(scaling.apply(samples)).argmax(axis=1) == labels

        found = right(self.scaling)
        accuracy, balanced = float(found.mean()), _mean_of_classes(found, labels)
        if self.minimum_accuracy is None:
            return accuracy
        text = f"{self.place}: classifies {accuracy:.0%} of {len(labels)} test samples right"
        if balanced < 1 - CLEARLY:
            others = [(_mean_of_classes(right(scaling), labels), advice) for scaling, advice in self._alternatives()]
            best, advice = max(others, default=(0.0, ""))
            if best > balanced + CLEARLY:
                raise UserError(f"{text}; with input: {advice} it would be {best:.0%}")
        if accuracy < self.minimum_accuracy:
            raise UserError(
                f"{text}, less than minimum_accuracy, {self.minimum_accuracy:.0%}; check the input scaling (input or "
                "RANGE), the order of the labels (labels or LABELS) and the images"
            )
        return accuracy

    def _alternatives(self) -> Iterator[tuple[InputScaling, str]]:
        """Yield other scalings in use, and how they are written."""
        for low, high in COMMON_RANGES:
            for order in ("rgb", "bgr") if self.shape[-1] == 3 else ("rgb",):
                scaling = InputScaling((high - low,), (low,), order == "bgr")
                if scaling != self.scaling:
                    yield scaling, f"{{range: [{low:g}, {high:g}], order: {order}}}"


def _mean_of_classes(right: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def nearest_range(low: float, high: float) -> tuple[float, float]:
    """Return the range in common use that overlaps most, by share of the union, with what an input can represent.

    The least value of an int16 input is always the opposite of the greatest one, and says nothing.
    """
    if abs(low + high) < SYMMETRIC * high:
        low = 0.0

    def overlap(wanted: tuple[float, float]) -> float:
        union = max(high, wanted[1]) - min(low, wanted[0])
        return (min(high, wanted[1]) - max(low, wanted[0])) / union

    return max(COMMON_RANGES, key=overlap)

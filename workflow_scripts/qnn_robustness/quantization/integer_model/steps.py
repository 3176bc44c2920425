"""Sequences whose steps stand before samples, as the converter writes a recurrent layer that is unrolled.

It moves the steps to the front (TRANSPOSE) and takes them apart there (UNPACK), or puts them together there (PACK) and
moves them behind the samples. Here samples stay in front, and steps are taken from, or put along, the next axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qnn_robustness.quantization.flatbuffer import Operator


def with_samples_in_front(operators: Sequence[Operator]) -> list[Operator]:
    """Return operators without each TRANSPOSE that swaps samples and steps between them and a PACK or UNPACK."""
    changed: dict[int, Operator | None] = {}
    makers = {tensor.index: operator for operator in operators for tensor in operator.outputs}
    for swap in filter(_swaps_samples_and_steps, operators):
        source, output = swap.inputs[0], swap.outputs[0]
        takers = [operator for operator in operators if output in operator.inputs]
        maker = makers.get(source.index)
        if takers and all(_at_the_front(taker, "UNPACK") for taker in takers):
            changed |= {taker.position: _behind_samples(replace(taker, inputs=(source,))) for taker in takers}
        elif maker is not None and _at_the_front(maker, "PACK") and _takers(operators, maker) == 1:
            changed[maker.position] = _behind_samples(replace(maker, outputs=swap.outputs))
        else:
            continue
        changed[swap.position] = None
    return [kept for operator in operators if (kept := changed.get(operator.position, operator)) is not None]


def _swaps_samples_and_steps(operator: Operator) -> bool:
    if operator.name != "TRANSPOSE" or len(operator.inputs) < 2 or None in operator.inputs[:2]:
        return False
    order = operator.inputs[1].data
    return order is not None and order.size > 1 and np.ravel(order).tolist() == [1, 0, *range(2, order.size)]


def _at_the_front(operator: Operator, name: str) -> bool:
    return operator.name == name and operator.options.get("axis", 0) == 0


def _takers(operators: Sequence[Operator], maker: Operator) -> int:
    return sum(maker.outputs[0] in operator.inputs for operator in operators)


def _behind_samples(operator: Operator) -> Operator:
    return replace(operator, options={**operator.options, "axis": 1})

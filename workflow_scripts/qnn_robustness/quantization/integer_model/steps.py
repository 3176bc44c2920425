"""Sequences whose steps stand before samples, as the converter writes a recurrent layer that is unrolled.

It moves the steps to the front (TRANSPOSE) and takes them apart there (UNPACK), or puts them together there (PACK) and
moves them behind the samples, or lets the next such layer take them apart. Here samples stay in front, and steps are
taken from, or put along, the next axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qnn_robustness.quantization.flatbuffer import Operator


def with_samples_in_front(operators: Sequence[Operator]) -> list[Operator]:
    """Return operators whose PACK and UNPACK of steps in front of samples work on the axis behind these.

    Each TRANSPOSE that swaps samples and steps for them is left out.
    """
    changed: dict[int, Operator | None] = {}
    for operator in operators:
        if _swaps_samples_and_steps(operator):
            changed |= _unpacked_behind_samples(operator, operators)
        elif _at_the_front(operator, "PACK"):
            changed |= _packed_behind_samples(operator, operators)
    return [kept for operator in operators if (kept := changed.get(operator.position, operator)) is not None]


def _unpacked_behind_samples(swap: Operator, operators: Sequence[Operator]) -> dict[int, Operator | None]:
    """Return by position what becomes of a TRANSPOSE and each UNPACK of it; nothing if others take it, too."""
    takers = _takers(operators, swap)
    if not takers or not all(_at_the_front(taker, "UNPACK") for taker in takers):
        return {}
    return {swap.position: None} | {
        taker.position: _behind_samples(replace(taker, inputs=swap.inputs[:1])) for taker in takers
    }


def _packed_behind_samples(pack: Operator, operators: Sequence[Operator]) -> dict[int, Operator | None]:
    """Return by position what becomes of a PACK, of the TRANSPOSE of it and of what another layer unpacks of it."""
    shape, takers = pack.outputs[0].shape, _takers(operators, pack)
    swaps = [taker for taker in takers if _swaps_samples_and_steps(taker)]
    unpacked = [taker for taker in takers if _at_the_front(taker, "UNPACK")]
    if not takers or len(swaps) > 1 or len(swaps) + len(unpacked) < len(takers) or len(shape) < 2:
        return {}
    outputs = swaps[0].outputs if swaps else (replace(pack.outputs[0], shape=(shape[1], shape[0], *shape[2:])),)
    return {swap.position: None for swap in swaps} | {
        pack.position: _behind_samples(replace(pack, outputs=outputs)),
        **{taker.position: _behind_samples(replace(taker, inputs=outputs)) for taker in unpacked},
    }


def _swaps_samples_and_steps(operator: Operator) -> bool:
    if operator.name != "TRANSPOSE" or len(operator.inputs) < 2 or None in operator.inputs[:2]:
        return False
    order = operator.inputs[1].data
    return order is not None and order.size > 1 and np.ravel(order).tolist() == [1, 0, *range(2, order.size)]


def _at_the_front(operator: Operator, name: str) -> bool:
    return operator.name == name and operator.options.get("axis", 0) == 0


def _takers(operators: Sequence[Operator], maker: Operator) -> list[Operator]:
    return [operator for operator in operators if maker.outputs[0] in operator.inputs]


def _behind_samples(operator: Operator) -> Operator:
    return replace(operator, options={**operator.options, "axis": 1})

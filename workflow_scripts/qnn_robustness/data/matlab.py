"""Numeric arrays of MAT-files of version 5 that may be damaged or hostile.

Of the format (MathWorks, MAT-File Format, 2024) only what real arrays need is known; anything else is stepped over or
refused. SciPy's reader is not used, because damaged files can crash the interpreter in it.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qnn_robustness.common.errors import UserError

MAX_BYTES = 4 * 2**30

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_UINT32, _INT32, _INT8 = 6, 5, 1
# Element types, by which numbers are stored: often as smaller ones than the type of the array.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Array types that are numbers.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX, _LOGICAL = 0x08, 0x02
_REPLACE = "get the file again from a source you trust"


class _Damaged(Exception):
    """What does not fit together in a file."""


@dataclass(frozen=True)
class _Element:
    kind: int
    content: memoryview


def read_arrays(path: str | Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return the real arrays `names` of a MAT-file by their names, in the machine's byte order.

    Raises UserError when the file is missing, truncated, damaged or of another version, when a variable is missing or
    is no array of real numbers, and when the content takes more than MAX_BYTES.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not content.startswith(b"MATLAB 5.0 MAT-file") or content[126:128] not in (b"IM", b"MI"):
        raise UserError(f"{path}: is no MAT-file of version 5; {_REPLACE}")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        found = dict(_variables(memoryview(content)[_HEADER:], order, names))
    except (_Damaged, ValueError, zlib.error, struct.error) as error:  # ValueError: shapes that NumPy has not
        raise UserError(f"{path}: is truncated or damaged ({error}); {_REPLACE}") from error
    for name in names:
        if name not in found:
            raise UserError(f"{path}: has no variable '{name}' of real numbers; is it the right file?")
    return found


def _variables(content: memoryview, order: str, names: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    budget = MAX_BYTES
    for element in _elements(content, order):
        if element.kind == _COMPRESSED:
            unpacked = _unpacked(element.content, budget)
            budget -= len(unpacked)
            element = next(_elements(memoryview(unpacked), order), None)
        if element is not None and element.kind == _MATRIX:
            yield from _array(element.content, order, names)


def _unpacked(content: memoryview, limit: int) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(content, limit + 1)  # 0 would be no limit
    if not unpacker.eof or len(unpacked) > limit:
        raise _Damaged(f"an element is cut off or unpacks to more than {limit:,} bytes")
    return unpacked


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """Take a sequence of elements apart: a tag of type and length, then the content, padded to 8 bytes.

    Up to four bytes stand in the tag itself, with the length in the upper half of the type.
    """
    place = 0
    while place < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if kind >> 16:
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
            if length > 4:
                raise _Damaged(f"a short element claims {length:,} bytes")
        end = start + length
        if end > len(content):
            raise _Damaged(f"an element claims {length:,} bytes")
        yield _Element(kind, content[start:end])
        # compressed elements are not padded
        place = place + 8 if start < place + 8 else end if kind == _COMPRESSED else end + -length % 8


def _array(content: memoryview, order: str, names: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and array of a matrix element if it is among `names` and holds real numbers."""
    parts = _elements(content, order)
    flags, dimensions, label = (next(parts, None) for _ in range(3))
    if label is None or (flags.kind, dimensions.kind, label.kind) != (_UINT32, _INT32, _INT8):
        return  # an object of some other layout
    name = bytes(label.content).decode("latin-1")
    word = struct.unpack_from(f"{order}I", flags.content)[0]
    kind, marks = word & 0xFF, word >> 8 & 0xFF
    if name not in names or kind not in _CLASSES or marks & (_COMPLEX | _LOGICAL):
        return
    shape = struct.unpack(f"{order}{len(dimensions.content) // 4}i", dimensions.content)
    numbers = next(parts, None)
    if numbers is None or numbers.kind not in _STORED:
        raise _Damaged(f"'{name}' has no numbers")
    stored = np.dtype(_STORED[numbers.kind]).newbyteorder(order)
    if min(shape, default=-1) < 0 or math.prod(shape) * stored.itemsize != len(numbers.content):
        raise _Damaged(f"'{name}' claims the shape {list(shape)} for {len(numbers.content):,} bytes")
    with np.errstate(invalid="ignore"):  # numbers stored as another type than the array's may not fit it
        values = np.frombuffer(numbers.content, stored).astype(_CLASSES[kind])
    yield name, values.reshape(shape, order="F")

"""SVHN's MATLAB files: written by SciPy or byte by byte, and one line for whatever is wrong with them."""

from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
import scipy.io
from data_builder import entry
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_robustness.common.errors import UserError
from qnn_robustness.data import matlab
from qnn_robustness.data.formats import svhn_mat

SVHN = entry(format="svhn_mat", image_shape=[32, 32, 3])
COUNT = 11
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
NUMBERS = np.arange(COUNT, dtype=np.uint8) % 10 + 1


def write_mat(path, compressed=True, **changes):
    content = {"X": IMAGES.transpose(1, 2, 3, 0), "y": NUMBERS[:, None]} | changes
    scipy.io.savemat(path, {k: v for k, v in content.items() if v is not None}, do_compression=compressed)
    return path


def read(path):
    return svhn_mat.read({"test": path}, SVHN)


def refused(path, words: str) -> None:
    with pytest.raises(UserError) as caught:
        read(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_images_in_their_order_and_10_is_the_digit_0(tmp_path, compressed, kind):
    path = write_mat(tmp_path / "t.mat", compressed, y=NUMBERS[:, None].astype(kind))
    source = svhn_mat.read(
        {"train": path, "test": write_mat(tmp_path / "u.mat", X=IMAGES[::-1].transpose(1, 2, 3, 0))}, SVHN
    )
    assert source.classes == list("0123456789")
    np.testing.assert_array_equal(source.pools["train"].samples, IMAGES)
    np.testing.assert_array_equal(source.pools["test"].samples, IMAGES[::-1])
    assert source.pools["train"].labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert source.pools["train"].labels.dtype == np.int64


def test_the_layout_is_that_of_matlab_byte_by_byte(tmp_path):
    """A file written here without SciPy: images one after another, channels, columns, and rows innermost."""

    def element(kind, content):
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix(name, array, shape):
        flags = element(6, struct.pack("<II", 9, 0))  # class 9 is uint8
        return element(
            14, flags + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name) + element(2, array)
        )

    images = b"".join(image.transpose(2, 1, 0).tobytes() for image in IMAGES)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    parts = [matrix(b"X", images, (32, 32, 3, COUNT)), matrix(b"y", NUMBERS.tobytes(), (COUNT, 1))]
    for number, pack in enumerate(
        (lambda part: part, lambda part: struct.pack("<II", 15, len(zlib.compress(part))) + zlib.compress(part))
    ):
        path = tmp_path / f"{number}.mat"
        path.write_bytes(header + b"".join(map(pack, parts)))
        np.testing.assert_array_equal(read(path).pools["test"].samples, IMAGES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": None}, "has no variable 'y' of real numbers"),
        ({"X": None, "x": np.zeros(3)}, "has no variable 'X'"),
        ({"X": np.zeros((32, 32, 3, COUNT))}, "X is float64 [32, 32, 3, 11]"),
        ({"X": np.zeros((32, 32, 1, COUNT), np.uint8)}, "X is uint8 [32, 32, 1, 11]"),
        ({"X": np.zeros((32, 32, 3, COUNT + 1), np.uint8)}, "y is [11, 1]; expected [12, 1]"),
        ({"X": {"a": 1}}, "has no variable 'X' of real"),
        ({"y": np.array([["1"]], object)}, "has no variable 'y' of real"),
        ({"y": np.zeros((COUNT, 1), complex)}, "has no variable 'y' of real"),
        ({"y": np.zeros((COUNT, 1), bool)}, "has no variable 'y' of real"),
        ({"y": np.zeros((COUNT, 1), np.uint8)}, "y holds the label 0"),
        ({"y": np.full((COUNT, 1), np.nan)}, "y holds the label nan"),
    ],
)
def test_other_variables(tmp_path, changes, words):
    refused(write_mat(tmp_path / "t.mat", **changes), words)


def test_no_mat_file(tmp_path):
    refused(tmp_path / "gone.mat", "no such file")
    for name, content in (("page.mat", b"<html>"), ("hdf.mat", b"MATLAB 7.3 MAT-file".ljust(128)), ("e.mat", b"")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "is no MAT-file of version 5")
    with pytest.raises(UserError, match="names no file for 'test'"):
        svhn_mat.read({"train": tmp_path / "t.mat"}, SVHN)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = write_mat(tmp_path / "t.mat", X=np.zeros((32, 32, 3, 2000), np.uint8), y=np.ones((2000, 1)))
    assert path.stat().st_size < 50_000
    monkeypatch.setattr(matlab, "MAX_BYTES", 2**22)
    refused(path, "is cut off or unpacks to more than 4,194,304 bytes")


def test_a_bomb_behind_what_is_just_allowed(tmp_path, monkeypatch):
    path = write_mat(tmp_path / "t.mat", X=np.zeros((32, 32, 3, 2000), np.uint8), y=np.ones((2000, 1)))
    length = struct.unpack_from("<I", path.read_bytes(), 132)[0]
    first = len(zlib.decompress(path.read_bytes()[136 : 136 + length]))
    monkeypatch.setattr(matlab, "MAX_BYTES", first)
    refused(path, "unpacks to more than 0 bytes")


@pytest.mark.parametrize(("shape", "number"), [((1,) * 65, b"\1"), ((0, 2**31 - 1, 2**31 - 1, 2**31 - 1), b"")])
def test_shapes_that_no_array_has(tmp_path, shape, number):
    def element(kind, content):
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    dimensions = element(5, struct.pack(f"<{len(shape)}i", *shape))
    matrix = element(14, element(6, struct.pack("<II", 9, 0)) + dimensions + element(1, b"X") + element(2, number))
    (tmp_path / "t.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + matrix)
    refused(tmp_path / "t.mat", "is truncated or damaged")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("compressed", [True, False])
def test_truncation_is_noticed(tmp_path, share, compressed):
    content = write_mat(tmp_path / "t.mat", compressed).read_bytes()
    (tmp_path / "t.mat").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "t.mat", "is truncated or damaged")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), compressed=st.booleans())
def test_damage_gives_images_or_one_line(tmp_path_factory, data, compressed):
    path = write_mat(tmp_path_factory.getbasetemp() / "damaged.mat", compressed)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 300), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(UserError):
        pool = read(path).pools["test"]
        assert pool.samples.shape[1:] == (32, 32, 3)
        assert len(pool.samples) == len(pool.labels)


@pytest.mark.parametrize("kind", sorted({*"bBhHiIqQfd"}))
@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_of_every_type_and_shape_are_as_scipy_reads_them(tmp_path, kind, compressed):
    random = np.random.default_rng(0)
    arrays = {
        f"array{number}": random.integers(0, 100, shape).astype(kind)
        for number, shape in enumerate([(1, 1), (1, 4), (3, 1), (2, 3, 4), (0, 2), (5, 1, 1, 2)])
    }
    scipy.io.savemat(
        tmp_path / "t.mat", {**arrays, "text": "hello", "cell": np.array([["a", 1]], object)}, do_compression=compressed
    )
    expected = scipy.io.loadmat(tmp_path / "t.mat")
    found = matlab.read_arrays(tmp_path / "t.mat", list(arrays))
    for name, array in arrays.items():
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], array)


def test_big_endian_numbers_and_small_types_inside_wide_arrays(tmp_path):
    """MATLAB stores whole doubles in as few bytes as they need; short content stands in the tag itself."""
    parts = struct.pack(">II2I", 6, 8, 6, 0)  # a double array ...
    parts += struct.pack(">II2i", 5, 8, 1, 3) + struct.pack(">HH4s", 1, 1, b"y")
    parts += struct.pack(">HH4s", 3, 2, b"\x07\x08\x09".ljust(4, b"\0"))  # ... of bytes
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(parts)) + parts
    (tmp_path / "t.mat").write_bytes(content)
    found = matlab.read_arrays(tmp_path / "t.mat", ["y"])["y"]
    assert found.dtype == np.float64
    assert found.tolist() == [[7, 8, 9]]

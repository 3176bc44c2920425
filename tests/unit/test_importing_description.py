"""What the file of a Keras network says about it, whatever is written there."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.importing.description import describe

SUFFIXES = ["keras", "h5"]


def saved(path: Path, **of_input: Any) -> Path:
    """Write as much of a Keras file as says what the network takes."""
    layers = [{"class_name": "InputLayer", "config": of_input}, {"class_name": "Dense", "config": {}}]
    content = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = content
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", content)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("key", ["batch_shape", "batch_input_shape"])
def test_the_shape_is_that_of_the_input(tmp_path: Path, suffix: str, key: str) -> None:
    described = describe(saved(tmp_path / f"own.{suffix}", **{key: [None, 8, 6, 3]}))
    assert (described.precision, described.shape) == ("float32", (8, 6, 3))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "shape",
    [
        "abc",
        5,
        True,
        {"a": 1},
        [None, "8", "8", "3"],
        [None, 8.0, 8.0, 3.0],
        [None, True, True, True],
        [None, [8], 8, 3],
    ],
)
def test_what_is_no_shape_is_one_line(tmp_path: Path, suffix: str, shape: Any) -> None:
    path = saved(tmp_path / f"own.{suffix}", batch_shape=shape)
    with pytest.raises(UserError, match=r": says that it takes inputs of .*; expected .* such as \[None, 32, 32, 3\]"):
        describe(path)


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ([None], r"\[\]"),
        ([None, 8], r"\[8\]"),
        ([None, 8, 8, 3, 1], r"\[8, 8, 3, 1\]"),
        ([None, None, -8, 3], r"\[any, any, 3\]"),
        ([None, 8, 8, 4], r"\[8, 8, 4\]"),
    ],
)
def test_what_is_no_image_is_one_line(tmp_path: Path, shape: list, shown: str) -> None:
    path = saved(tmp_path / "own.h5", batch_input_shape=shape)
    with pytest.raises(UserError, match=rf"takes inputs of shape {shown}; images are \[height, width, 1 or 3\]"):
        describe(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("of_input", [{}, {"batch_shape": None}, {"batch_shape": []}])
def test_a_missing_shape_is_one_line(tmp_path: Path, suffix: str, of_input: dict) -> None:
    with pytest.raises(UserError, match=r"does not say which input it takes; save it with an input layer"):
        describe(saved(tmp_path / f"own.{suffix}", **of_input))


@pytest.mark.parametrize(("suffix", "name"), [("h5", "own.keras"), ("keras", "own.h5")])
def test_a_file_that_is_named_as_another_kind_is_one_line(tmp_path: Path, suffix: str, name: str) -> None:
    saved(tmp_path / f"first.{suffix}").rename(tmp_path / name)
    with pytest.raises(UserError, match=rf"its content is that of a \.{suffix} file, its name is not; rename it"):
        describe(tmp_path / name)


def test_another_archive_is_one_line(tmp_path: Path) -> None:
    """Such as a network of PyTorch, which is a zip archive as well."""
    with zipfile.ZipFile(tmp_path / "own.pt", "w") as archive:
        archive.writestr("own/data.pkl", "")
    with pytest.raises(UserError, match=r"own\.pt: is an archive without config\.json; give a \.tflite, \.keras or"):
        describe(tmp_path / "own.pt")

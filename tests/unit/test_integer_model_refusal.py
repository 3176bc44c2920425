"""Whether the integer model can be made of a file, told without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import brightness_network
import converted_networks
import numpy as np
import pytest
from tflite_builder import Builder, add_mixed, add_tiled, add_unsupported

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import precision_of, read_graph
from qnn_robustness.quantization.integer_model import refusal as module
from qnn_robustness.quantization.integer_model.model import IntegerModel
from qnn_robustness.quantization.integer_model.refusal import refusal
from qnn_robustness.quantization.tflite_model import TFLiteModel

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("behind", [None, add_unsupported, add_mixed])
def test_it_is_what_building_the_model_tells(tmp_path: Path, behind: Callable | None) -> None:
    path = brightness_network.save(tmp_path / "own.tflite", behind=behind)
    try:
        IntegerModel.from_file(path)
        expected = None
    except UserError as error:
        expected = str(error).removeprefix(f"{path}: ")
    assert refusal(path) == expected
    assert (expected is None) == (behind is None)


def test_kernels_that_lack_an_operator_are_named(tmp_path: Path) -> None:
    """The integer model could be made, and could not be compared."""
    path = brightness_network.save(tmp_path / "own.tflite", behind=add_tiled)
    assert refusal(path, "reference").startswith("cannot be used with the reference kernels (Didn't find op for")
    assert refusal(path, "xnnpack") is None


def test_an_unsigned_network_is_an_int8_one_without_an_integer_model(tmp_path: Path) -> None:
    path = tmp_path / "unsigned.tflite"
    path.write_bytes(converted_networks.unsigned())
    assert precision_of(read_graph(path)) == "int8"
    assert refusal(path) == "computes in UINT8; the integer model does in INT8 or INT16"
    scores = TFLiteModel(path, "reference").predict(np.zeros((2, 8, 8, 3), np.float32))
    assert scores.shape == (2, 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=0.02)


def test_what_is_no_integer_network_is_left_to_its_import(tmp_path: Path) -> None:
    builder = Builder()
    source, output = (builder.tensor(np.float32, [1, 2, 2, 1]) for _ in range(2))
    builder.operator("NEG", [source], [output], "NegOptions")
    assert refusal(builder.save(tmp_path / "float.tflite", [source], [output])) is None
    assert refusal(tmp_path / "none.tflite") is None


def test_an_answer_is_found_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job reads the configuration anew; the file may lie elsewhere on another machine."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_known", {})
    answer = refusal(brightness_network.save(tmp_path / "own.tflite", behind=add_mixed))
    assert answer.startswith("operator 2 (QUANTIZE): mixes types")
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "_tried", None)
    assert refusal(brightness_network.save(tmp_path / "moved.tflite", behind=add_mixed)) == answer
    monkeypatch.undo()
    assert refusal(brightness_network.save(tmp_path / "own.tflite")) is None


def test_what_does_not_end_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load it may be any network: it is not to be attacked without gradients from then on."""
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "KEPT", tmp_path / "integer_models")
    monkeypatch.setattr(module, "_known", {})
    with pytest.raises(UserError, match=r"int8\.tflite: does not answer within 0\.01 s"):
        refusal(ROOT / "reference_models" / "cifar10_resnet8" / "standard" / "int8.tflite")
    assert not (tmp_path / "integer_models").exists()

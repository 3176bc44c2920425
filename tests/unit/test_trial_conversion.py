"""What can be made of a float32 network, tried."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.importing import trial_conversion_process
from qnn_robustness.quantization.importing.trial_conversion import Trial, convert_on_trial

CLASSES = ["dark", "light"]
KERNELS = {"int8": ["reference", "xnnpack"], "int16": ["reference"]}


def saved(path: Path, middle) -> Path:
    """Write a network of one function of the image and a dense layer."""
    source = keras.Input((4, 4, 3))
    x = keras.layers.Flatten()(middle(source))
    keras.Model(source, keras.layers.Dense(2, activation="softmax")(x)).save(path)
    return path


def test_nothing_stands_in_the_way_of_a_plain_network(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.keras", keras.layers.Conv2D(2, 3))
    assert convert_on_trial(path, CLASSES, KERNELS) == Trial("softmax")


def test_every_kernel_set_has_to_run_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.keras", keras.layers.Conv2D(2, 3))
    failed = convert_on_trial(path, CLASSES, {"int8": ["builtin"], "int16": ["reference", "xnnpack"]}).failed
    assert failed == {"int16": "XNNPACK has no int16 kernels; use reference or builtin"}


def test_logits_are_seen_behind_other_activations(tmp_path: Path) -> None:
    source = keras.Input((4, 4, 3))
    gate = keras.layers.Softmax()(keras.layers.Dense(2)(keras.layers.Flatten()(source)))
    outputs = keras.layers.Multiply()([gate, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(source))])
    keras.Model(source, outputs).save(tmp_path / "own.keras")
    assert convert_on_trial(tmp_path / "own.keras", CLASSES, KERNELS).output == "logits"


def test_outputs_that_are_none_for_each_class_are_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.keras", keras.layers.Conv2D(2, 3))
    with pytest.raises(UserError, match=r"own\.keras: has 2 outputs, the data set has 3 classes \(a, b, c\)$"):
        convert_on_trial(path, ["a", "b", "c"], KERNELS)


@pytest.mark.parametrize(
    ("middle", "failed", "lacking"),
    [
        (keras.layers.UpSampling2D(2), ["int16", "int8"], []),  # no kernel for its TILE
        (lambda x: keras.ops.cumsum(x, axis=1), ["int16"], ["int8"]),  # the converter has none of CUMSUM
    ],
)
def test_what_fails_or_is_lacking_is_named(tmp_path: Path, middle, failed: list[str], lacking: list[str]) -> None:
    trial = convert_on_trial(saved(tmp_path / "own.keras", middle), CLASSES, KERNELS)
    assert sorted(trial.failed) == failed
    assert sorted(trial.lacking) == lacking
    assert all("is not supported; supported: ABS" in reason for reason in trial.lacking.values())


def test_the_network_that_is_tried_is_the_one_that_the_import_makes(tmp_path: Path) -> None:
    """Where no final softmax can be taken off, the import puts a logarithm behind it."""
    source = keras.Input((4, 4, 3))
    outputs = keras.ops.softmax(keras.layers.Dense(2)(keras.layers.Flatten()(source)))
    keras.Model(source, outputs).save(tmp_path / "own.keras")
    (tmp_path / "trial").mkdir()
    wanted = json.dumps({"classes": CLASSES, "kernels": KERNELS})
    trial_conversion_process._convert(str(tmp_path / "own.keras"), wanted, str(tmp_path / "trial" / "trial.json"))
    for precision in KERNELS:
        graph = read_graph(tmp_path / "trial" / f"{precision}.tflite")
        names = [operator.name for operator in graph.operators]
        assert names.index("LOG") > names.index("SOFTMAX")


def test_a_file_that_holds_no_network_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.keras").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"own\.keras: is no \.tflite, \.keras or \.h5 file") as caught:
        convert_on_trial(tmp_path / "own.keras", CLASSES, KERNELS)
    assert "\n" not in str(caught.value)

"""The configuration that an audit makes of a network file and a folder."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import brightness_network
import numpy as np
import pytest
from PIL import Image
from ready_configurations import loaded

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.audit import MOST_IMAGES, audit, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 4 x 4 images, 3 dark and 2 light ones."""
    for name, count in (("dark", 3), ("light", 2)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(count):
            stream = io.BytesIO()
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(stream, "png")
            (tmp_path / "images" / name / f"{index}.png").write_bytes(stream.getvalue())
    return tmp_path / "images"


@pytest.fixture
def network(tmp_path: Path) -> str:
    return brightness_network.save(tmp_path / "My Network-8.tflite")


def test_an_integer_network_is_audited_as_it_is(network: str, folder: Path) -> None:
    configuration = loaded("audit.yaml", audit(network, str(folder)))
    assert configuration.networks() == [("my_network_8", "pretrained")]
    model = configuration.model("my_network_8")
    assert model["files"] == {"int8": network}
    assert (model["input"]["range"], model["output"], model["minimum_accuracy"]) == ([0, 255], "softmax", 0.6)
    dataset = configuration.dataset("images")
    assert (dataset["image_shape"], dataset["classes"]) == ([4, 4, 3], ["dark", "light"])
    assert (dataset["split_folders"], dataset["calibration_samples"]) == ({"test": "."}, 0)
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    assert {(e.source, e.target) for e in points} == {("int8", "int8")}
    assert {configuration.attack(e.attack)["samples"] for e in points} == {5}
    accesses = {configuration.attack_columns(e.attack)["access"] for e in points}
    assert accesses == {"white_box", "score", "decision"}


def test_a_float_network_brings_all_precisions(tmp_path: Path, folder: Path) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 4, 4, 3]}},
        {"class_name": "Dense", "config": {"activation": "softmax"}},
    ]
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": layers}}))
    configuration = loaded("audit.yaml", audit(str(tmp_path / "own.keras"), str(folder), "-1..1"))
    assert configuration.precisions("own") == ("float32", "int16", "int8")
    assert configuration.model("own")["input"]["range"] == [-1, 1]
    assert configuration.model("own")["output"] == "softmax"
    assert configuration.dataset("images")["calibration_from_test"]
    assert len(configuration.evaluations("audit_white_box")) == 9


def test_options_win_over_what_is_found(network: str, folder: Path) -> None:
    overlay = audit(network, str(folder), "0..1", "light,dark")
    assert overlay["models"]["my_network_8"]["input"]["range"] == [0, 1]
    assert overlay["datasets"]["images"]["classes"] == ["light", "dark"]


def test_of_a_large_folder_a_share_is_drawn(network: str, folder: Path) -> None:
    for index in range(MOST_IMAGES):
        (folder / "dark" / f"more{index}.png").touch()
    dataset = audit(network, str(folder))["datasets"]["images"]
    assert dataset["split_folders"] is None
    assert dataset["test_fraction"] == MOST_IMAGES / (MOST_IMAGES + 5)


@pytest.mark.parametrize("value_range", ["255", "255..0", "a..b", "0...1", "0..", "-..1"])
def test_a_wrong_range_is_one_line(network: str, folder: Path, value_range: str) -> None:
    with pytest.raises(UserError, match=r"^RANGE=.* is no range; .* for example 0\.\.255$"):
        audit(network, str(folder), value_range)


def test_what_does_not_fit_is_one_line(network: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.tflite: no such file"):
        audit(str(tmp_path / "none.tflite"), str(folder))
    with pytest.raises(UserError, match="no such folder; expected one with a folder of images for each class"):
        audit(network, str(tmp_path / "none"))
    with pytest.raises(UserError, match="its class folders are dark, light, the labels dark, bright"):
        audit(network, str(folder), labels="dark,bright")
    with pytest.raises(UserError, match="has 0 class folders; expected two or more"):
        audit(network, str(folder / "dark"))
    (folder / "third").mkdir()
    with pytest.raises(UserError, match=r"has 3 class folders \(dark, light, third\), but .* has 2 outputs"):
        audit(network, str(folder))
    (tmp_path / "text.keras").write_text("no network")
    with pytest.raises(UserError, match=r"is neither a \.keras nor an \.h5 file"):
        audit(str(tmp_path / "text.keras"), str(folder))


@pytest.mark.parametrize(
    ("file", "name"), [("a/Net v1.2.tflite", "net_v1_2"), ("8bit.keras", "model_8bit"), ("ü.h5", "model_")]
)
def test_names_are_names_of_the_configuration(file: str, name: str) -> None:
    assert name_of(file) == name

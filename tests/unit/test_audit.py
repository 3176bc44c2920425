"""The configuration that an audit makes of a network file and a folder."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import brightness_network
import numpy as np
import pytest
import yaml
from PIL import Image
from ready_configurations import loaded
from tflite_builder import add_mixed, add_tiled, add_unsupported

from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.audit import MOST_SAMPLES, audit, name_of, without_what_fails
from qnn_robustness.configuration.checks.integer_models import check_integer_models
from qnn_robustness.configuration.documentation import ROOT
from qnn_robustness.data.formats import speech_commands


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


def keras_file(path: Path, shape: list[int]) -> str:
    """Write as much of a Keras file as says what the network takes, and return its path."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}},
        {"class_name": "Dense", "config": {"activation": "softmax"}},
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": layers}}))
    return str(path)


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


@pytest.mark.parametrize("refused", [add_unsupported, add_mixed])
def test_a_network_that_the_integer_model_cannot_be_made_of_is_attacked_without_gradients(
    tmp_path: Path, folder: Path, refused: Callable
) -> None:
    network = brightness_network.save(tmp_path / "refused.tflite", behind=refused)
    configuration = loaded("audit.yaml", audit(network, str(folder)))
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    assert {configuration.attack_columns(e.attack)["access"] for e in points} == {"score", "decision"}
    assert {configuration.search_kernels(e.source, e.attack) for e in points} == {"reference"}
    assert not configuration.emulated()
    drawn = {figure for entry in configuration.experiments.values() for figure in entry["figures"]}
    assert drawn == {"robustness_against_budget", "transfer_matrix", "distortion", "examples"}, "the card shows all"


def test_a_network_that_the_reference_kernels_cannot_run_is_attacked_on_others(tmp_path: Path, folder: Path) -> None:
    network = brightness_network.save(tmp_path / "tiled.tflite", behind=add_tiled)
    configuration = loaded("audit.yaml", audit(network, str(folder)))
    assert configuration.kernels("int8") == ["xnnpack"]
    assert configuration.emulated() == {("tiled", "int8")}


def test_a_network_behind_a_link_keeps_the_name_of_the_link(tmp_path: Path, folder: Path) -> None:
    """As caches of models have it: the content lies elsewhere, under a hash."""
    blob = tmp_path / "0a1b2c"
    Path(keras_file(tmp_path / "own.keras", [4, 4, 3])).rename(blob)
    link = tmp_path / "snapshot.keras"
    link.symlink_to(blob)
    assert audit(str(link), str(folder))["models"]["snapshot"]["files"] == {"float32": str(link)}


def test_the_overlay_for_another_precision_is_one() -> None:
    text = (ROOT / "config" / "audit.yaml").read_text(encoding="utf-8").split("another precision")[1].split("\n#\n")[1]
    overlay = yaml.safe_load("\n".join(line.removeprefix("#") for line in text.splitlines()))
    configuration = loaded("audit.yaml", overlay)
    assert configuration.imports() == {"mine/pretrained/float32": "network.keras"}
    assert configuration.networks() == [("mine", "pretrained")]


def test_a_float_network_brings_all_precisions(tmp_path: Path, folder: Path) -> None:
    configuration = loaded(
        "audit.yaml", audit(keras_file(tmp_path / "own.keras", [4, 4, 3]), str(folder), {"range": "-1..1"})
    )
    assert configuration.precisions("own") == ("float32", "int16", "int8")
    assert configuration.model("own")["input"]["range"] == [-1, 1]
    assert configuration.model("own")["output"] == "softmax"
    assert configuration.dataset("images")["calibration_from_test"]
    assert len(configuration.evaluations("audit_white_box")) == 9
    # of five images one calibrates the integer networks
    dataset = configuration.dataset("images")
    assert (dataset["calibration_samples"], dataset["test_samples"]) == (1, 4)
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    assert {configuration.attack(e.attack)["samples"] for e in points} == {4}


def test_what_cannot_be_made_of_a_float_network_is_left_out(tmp_path: Path, folder: Path) -> None:
    overlay = audit(keras_file(tmp_path / "own.keras", [4, 4, 3]), str(folder))
    without_what_fails(overlay, ["int16"], ["int8"])
    configuration = loaded("audit.yaml", overlay)
    assert configuration.precisions("own") == ("float32", "int8")
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    sources = {"white_box": {"float32"}, "score": {"float32", "int8"}, "decision": {"float32", "int8"}}
    for access, expected in sources.items():
        assert {e.source for e in points if configuration.attack_columns(e.attack)["access"] == access} == expected
    assert not configuration.emulated()
    smallest = [name for name, entry in configuration.experiments.items() if "distortion" in entry["figures"]]
    assert {e.attack for name in smallest for e in configuration.evaluations(name)} >= {"audit_fmn_l2"}
    overlay["experiments"]["audit_white_box"]["sources"] = ["float32", "int8"]
    with pytest.raises(UserError, match=r"models\.own\.integer_model: is false, but its int8 network is attacked with"):
        check_integer_models(loaded("audit.yaml", overlay))


def test_too_few_images_are_one_line(network: str, folder: Path) -> None:
    (folder / "dark" / "0.png").unlink()
    with pytest.raises(UserError, match=r"images: its class folders hold 4 samples; expected 5 or more$"):
        audit(network, str(folder))


def beside(folder: Path) -> str:
    (folder / "0.png").touch()
    return r"image '0\.png' lies beside the class folders; move it into one or remove it"


def deeper(folder: Path) -> str:
    (folder / "dark/more").mkdir()
    (folder / "dark/more/0.png").touch()
    return r"'dark/more' is too deep; expected \[split folder\]/<class>/<file>"


def other_file(folder: Path) -> str:
    (folder / "dark/list.txt").touch()
    return r"'dark/list\.txt' is no png, jpg, jpeg, bmp file; remove it$"


def link(folder: Path) -> str:
    (folder / "dark/link.png").symlink_to(folder / "light/0.png")
    return r"member 'dark/link\.png' is a link; copy what it points to"


def empty(folder: Path) -> str:
    for path in (folder / "light").iterdir():
        path.rename(folder / "dark" / f"light{path.name}")
    return r"class folder 'light' is empty or missing; add images to it or remove the class"


def nested(folder: Path) -> str:
    for name in ("dark", "light"):
        (folder / name).rename(folder.parent / name)
        (folder / name).mkdir()
        (folder.parent / name).rename(folder / name / "test")
    return r"its class folders, dark, light, hold no images \(png, jpg, jpeg, bmp\) or clips \(wav\)"


@pytest.mark.parametrize("spoil", [beside, deeper, other_file, link, empty, nested])
def test_folders_that_cannot_be_read_are_refused_before_anything_is_run(network: str, folder: Path, spoil) -> None:
    message = spoil(folder)
    with pytest.raises(UserError, match=rf"images: {message}"):
        audit(network, str(folder))


def test_paths_that_snakemake_would_take_for_patterns_are_refused(network: str, folder: Path) -> None:
    named = folder.rename(folder.parent / "now {b}")
    with pytest.raises(UserError, match=r"^DATA: .*now \{b\}: has braces, which Snakemake takes for a wildcard"):
        audit(network, str(named))
    copy = Path(network).rename(Path(network).with_name("net{w}.tflite"))
    with pytest.raises(UserError, match=r"^MODEL: .*net\{w\}\.tflite: has braces"):
        audit(str(copy), str(folder))


def test_options_win_over_what_is_found(network: str, folder: Path) -> None:
    scaling = {"range": "0..1", "mean": "0.5,0.4,0.3", "deviation": "0.2", "order": "bgr"}
    overlay = audit(network, str(folder), scaling, "light, dark")
    declared = {"range": [0, 1], "mean": [0.5, 0.4, 0.3], "deviation": [0.2], "order": "bgr"}
    assert overlay["models"]["my_network_8"]["input"] == declared
    assert loaded("audit.yaml", overlay).model("my_network_8")["input"] == declared
    assert overlay["datasets"]["images"]["classes"] == ["light", "dark"]


def test_labels_are_the_folders_whatever_the_file_system_makes_of_accents(network: str, folder: Path) -> None:
    (folder / "dark").rename(folder / "de\u0301bo\u0302")
    (folder / "__MACOSX").mkdir()
    overlay = audit(network, str(folder), labels="light,d\u00e9b\u00f4")
    assert overlay["datasets"]["images"]["classes"] == ["light", "de\u0301bo\u0302"]


def test_of_a_large_folder_a_share_is_drawn(network: str, folder: Path) -> None:
    for index in range(MOST_SAMPLES):
        (folder / "dark" / f"more{index}.png").touch()
        (folder / "dark" / f"._more{index}.png").touch()  # clutter of file managers
    assert audit(network, str(folder))["datasets"]["images"]["test_samples"] == MOST_SAMPLES


@pytest.mark.parametrize("value_range", ["255", "255..0", "a..b", "0...1", "0..", "-..1"])
def test_a_wrong_range_is_one_line(network: str, folder: Path, value_range: str) -> None:
    with pytest.raises(UserError, match=r"^RANGE=.* is no range; .* for example 0\.\.255$"):
        audit(network, str(folder), {"range": value_range})


def test_a_range_that_nobody_uses_is_asked_for(tmp_path: Path, folder: Path) -> None:
    network = brightness_network.save(tmp_path / "half.tflite", scale=1 / 255, zero_point=0)
    with pytest.raises(UserError, match=r"takes values from -0\.502 to 0\.498, no range .* RANGE=black\.\.white"):
        audit(network, str(folder))
    assert audit(network, str(folder), {"mean": "0.5"})["models"]["half"]["input"] == {"range": [0, 1], "mean": [0.5]}
    scaled = {"mean": "127.5", "deviation": "255"}
    assert audit(network, str(folder), scaled)["models"]["half"]["input"]["range"] == [0, 255]
    with pytest.raises(UserError, match=r"^MEAN and DEVIATION need RANGE=black\.\.white beside them"):
        audit(keras_file(tmp_path / "own.keras", [4, 4, 3]), str(folder), {"mean": "0.5"})
    with pytest.raises(UserError, match=r"^MEAN=a,b: is no number, or several separated by commas$"):
        audit(network, str(folder), {"mean": "a,b"})


def test_what_does_not_fit_is_one_line(network: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.tflite: no such file"):
        audit(str(tmp_path / "none.tflite"), str(folder))
    with pytest.raises(UserError, match="no such folder; expected one with a folder of images for each class"):
        audit(network, str(tmp_path / "none"))
    with pytest.raises(UserError, match="its class folders are dark, light, the labels dark, bright"):
        audit(network, str(folder), labels="dark,bright")
    with pytest.raises(
        UserError, match=r"^LABELS=labels\.txt: names a file; expected the class folders, separated by commas"
    ):
        audit(network, str(folder), labels="labels.txt")
    with pytest.raises(UserError, match="has 0 class folders; expected two or more"):
        audit(network, str(folder / "dark"))
    (folder / "third").mkdir()
    with pytest.raises(
        UserError, match=r"has 2 outputs, the data set has 3 classes \(dark, light, third\); classes are"
    ):
        audit(network, str(folder))
    (tmp_path / "text.keras").write_text("no network")
    with pytest.raises(UserError, match=r"is no \.tflite, \.keras or \.h5 file"):
        audit(str(tmp_path / "text.keras"), str(folder))


@pytest.mark.parametrize(
    ("file", "name"), [("a/Net v1.2.tflite", "net_v1_2"), ("8bit.keras", "model_8bit"), ("ü.h5", "model_")]
)
def test_names_are_names_of_the_configuration(file: str, name: str) -> None:
    assert name_of(file) == name


def test_a_network_does_not_merge_with_a_model_of_the_configuration_beneath(network: str, folder: Path) -> None:
    overlay = audit(network, str(folder), taken=["my_network_8"])
    assert name_of(network) == "my_network_8"
    assert [*overlay["models"]] == overlay["experiments"]["audit_minimal"]["models"] == ["model_my_network_8"]


def test_clips_are_attacked_as_features_and_as_sound(tmp_path: Path) -> None:
    for name in speech_commands.CLASSES:
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / "1.wav").touch()
    file = keras_file(tmp_path / "words.keras", [49, 10, 1])
    configuration = loaded("audit.yaml", audit(file, str(tmp_path / "clips")))
    assert configuration.dataset("images")["classes"] == speech_commands.CLASSES
    assert configuration.model("words")["input"]["range"] is None
    points = [e for name in configuration.experiments for e in configuration.evaluations(name)]
    assert {configuration.attack(e.attack)["lattice"] for e in points} == {"float"}
    assert "audit_sound_pgd_snr" in {e.attack for e in points}
    kept = configuration.dataset("images")["test_samples"]
    assert {configuration.attack(e.attack)["samples"] for e in points} == {kept}, "a dozen clips are too few for more"
    with pytest.raises(UserError, match=r"^RANGE=0\.\.255: is for images"):
        audit(file, str(tmp_path / "clips"), {"range": "0..255"})
    with pytest.raises(UserError, match=r"^LABELS=.*: the order of clips is that of MLPerf Tiny, down,go,"):
        audit(file, str(tmp_path / "clips"), labels=",".join(sorted(speech_commands.CLASSES)))
    (tmp_path / "clips" / "up").rename(tmp_path / "clips" / "above")
    with pytest.raises(UserError, match=r"clips: holds clips in _silence_, .*above.*; expected down, go"):
        audit(file, str(tmp_path / "clips"))

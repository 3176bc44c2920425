"""The command line of the audit; the workflow that it starts is not run."""

from __future__ import annotations

import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import brightness_network
import numpy as np
import pytest
import yaml
from PIL import Image
from ready_configurations import loaded
from test_audit import keras_file
from tflite_builder import add_mixed, add_tiled

from qnn_robustness.configuration.documentation import ROOT
from qnn_robustness.quantization.importing import trial_conversion
from qnn_robustness.quantization.importing.trial_conversion import Trial

SCRIPT = ROOT / "workflow_scripts/audit_model.py"
RUN = subprocess.run


class Audit:
    """The script, run in this process, and the commands that it would have started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[list[str]] = []
        self.status = 0

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess:
        # what libraries ask the system, and what is tried beforehand
        if command[0] != sys.executable or command[2].startswith("qnn_robustness."):
            return RUN(command, **options)
        self.started.append(command)
        return subprocess.CompletedProcess(command, self.status)

    def __call__(self, *arguments: object) -> int | str | None:
        """Return what the script ends with: a status, or the line that it writes to stderr with status 1."""
        sys.argv = [str(SCRIPT), *map(str, arguments)]
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return caught.value.code


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    audit = Audit(tmp_path)
    monkeypatch.setattr(subprocess, "run", audit.run)
    monkeypatch.setattr(sys, "argv", [])
    return audit


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, value in (("dark", 0), ("light", 255)):
        (tmp_path / "my data" / name).mkdir(parents=True)
        for index in range(3):
            image = Image.fromarray(np.full((4, 4, 3), value, np.uint8))
            image.save(tmp_path / "my data" / name / f"{index}.png")
    return tmp_path / "my data"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return Path(brightness_network.save(tmp_path / "It's \u00fc.tflite"))


def test_the_workflow_runs_with_the_configuration_that_is_written(
    audit: Audit, network: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = audit.folder / "out here"
    assert audit(network, data, "--folder", folder, "--cores", 3) == 0
    workflow, headline = audit.started
    assert workflow[:3] == [sys.executable, "-m", "snakemake"]
    options = {flag: workflow[workflow.index(flag) + 1] for flag in ("--snakefile", "--directory", "--cores")}
    assert options == {"--snakefile": str(ROOT / "Snakefile"), "--directory": str(folder), "--cores": "3"}
    given = workflow[workflow.index("--configfile") + 1 :]
    assert given == [str(ROOT / "config/audit.yaml"), str(folder / "audit.yaml"), "--", "audit"]
    overlay = yaml.safe_load((folder / "audit.yaml").read_text(encoding="utf-8"))
    assert loaded("audit.yaml", overlay).networks() == [("it_s", "pretrained")]
    assert overlay["models"]["it_s"]["files"] == {"int8": str(network)}
    assert headline[1] == str(ROOT / "workflow_scripts/show_headline.py")
    assert headline[2:] == [str(folder / "results" / name) for name in ("tables/headline.csv", "reports/audit.html")]
    note, shown = capsys.readouterr().out.splitlines()
    assert note == "it_s: black is 0 and white 255; RANGE=... says otherwise"
    assert shlex.split(shown) == workflow[2:], "it can be copied into a shell"


def test_a_network_called_as_the_example_does_not_take_its_place(audit: Audit, data: Path) -> None:
    network = brightness_network.save(audit.folder / "audited.tflite")
    assert audit(network, data, "--folder", audit.folder / "out") == 0
    overlay = yaml.safe_load((audit.folder / "out" / "audit.yaml").read_text(encoding="utf-8"))
    assert [*overlay["models"]] == ["model_audited"]


def test_a_network_without_an_integer_model_is_noted(audit: Audit, data: Path, capsys: pytest.CaptureFixture) -> None:
    network = brightness_network.save(audit.folder / "mixed.tflite", behind=add_mixed)
    assert audit(network, data, "--folder", audit.folder / "out") == 0
    note = "mixed: without gradients, black-box attacks alone: operator 2 (QUANTIZE): mixes types; "
    assert capsys.readouterr().out.startswith(note)


def test_other_kernels_than_the_reference_ones_are_noted(
    audit: Audit, data: Path, capsys: pytest.CaptureFixture
) -> None:
    network = brightness_network.save(audit.folder / "tiled.tflite", behind=add_tiled)
    assert audit(network, data, "--folder", audit.folder / "out") == 0
    note = "tiled: on the xnnpack kernels alone: cannot be used with the reference kernels ("
    assert capsys.readouterr().out.startswith(note)


def test_a_workflow_that_fails_gives_the_status(audit: Audit, network: Path, data: Path) -> None:
    audit.status = 7
    assert audit(network, data, "--folder", audit.folder / "out") == 7
    assert len(audit.started) == 1


def test_options_reach_the_configuration(audit: Audit, network: Path, data: Path) -> None:
    options = ["--range=-1..1", "--mean=0.1", "--deviation=1,2,3", "--order=bgr", "--labels=light,dark"]
    assert audit(network, data, *options, "--folder", audit.folder / "out") == 0
    overlay = yaml.safe_load((audit.folder / "out/audit.yaml").read_text(encoding="utf-8"))
    declared = {"range": [-1, 1], "mean": [0.1], "deviation": [1, 2, 3], "order": "bgr"}
    assert overlay["models"]["it_s"]["input"] == declared
    assert overlay["datasets"]["images"]["classes"] == ["light", "dark"]


def test_the_home_folder_may_be_named(audit: Audit, network: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """make gives `~` on as it is."""
    monkeypatch.setenv("HOME", str(audit.folder))
    assert audit(f"~/{network.name}", f"~/{data.name}", "--folder", audit.folder / "out") == 0
    overlay = yaml.safe_load((audit.folder / "out/audit.yaml").read_text(encoding="utf-8"))
    assert overlay["models"]["it_s"]["files"] == {"int8": str(network)}
    assert overlay["datasets"]["images"]["path"] == str(data)


def test_a_float_network_is_tried_first(
    audit: Audit, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = keras_file(audit.folder / "own.keras", [4, 4, 3])
    asked = []

    def tried(*arguments: object) -> Trial:
        asked.append(arguments)
        return Trial("logits", {"int16": "no kernel"}, {"int8": "operator 1 (NEG)"})

    monkeypatch.setattr(trial_conversion, "convert_on_trial", tried)
    assert audit(path, data, "--folder", audit.folder / "out") == 0
    assert asked == [(path, ["dark", "light"], {"int8": ["reference", "xnnpack"], "int16": ["reference"]})]
    overlay = yaml.safe_load((audit.folder / "out/audit.yaml").read_text(encoding="utf-8"))
    model = loaded("audit.yaml", overlay).model("own")
    assert (model["output"], model["quantized_to"], model["integer_model"]) == ("logits", ["int8"], False)
    notes = capsys.readouterr().out.splitlines()
    assert notes[:2] == ["own: int16 left out: no kernel", "own: int8 without gradients: operator 1 (NEG)"]


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--range=255", "RANGE=255: is no range; write the values of black and of white, for example 0..255"),
        ("--mean=a", "MEAN=a: is no number, or several separated by commas"),
        ("--mean=1,2", "MEAN=1,2: has 2 entries; expected 1 or one for each of the 3 channels"),
        ("--deviation=0", "DEVIATION=0: [0.0] has an entry that is not positive"),
        ("--order=grb", "ORDER=grb: is no order of channels; write rgb or bgr"),
        ("--labels=dark", "{data}: its class folders are dark, light, the labels dark"),
    ],
)
@pytest.mark.parametrize("value_range", [(), ("--range=0..255",)])
def test_a_wrong_option_is_one_line(
    audit: Audit, network: Path, data: Path, option: str, line: str, value_range: tuple
) -> None:
    ended = audit(network, data, *value_range, option, "--folder", audit.folder / "out")
    assert ended == f"error: {line.format(data=data)}"
    assert audit.started == []
    assert not (audit.folder / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.tflite", None, "no such file or folder"),
        ("empty.tflite", b"", "not a .tflite file (no TFL3 mark); give a TensorFlow Lite model"),
        ("page.tflite", b"<!DOCTYPE html>", "not a .tflite file (no TFL3 mark); give a TensorFlow Lite model"),
        ("net.onnx", b"onnx", "is no .tflite, .keras or .h5 file and no SavedModel"),
        ("empty.keras", b"", "is no .tflite, .keras or .h5 file and no SavedModel"),
    ],
)
def test_a_file_that_is_no_network_is_one_line(
    audit: Audit, data: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (audit.folder / name).write_bytes(content)
    assert audit(audit.folder / name, data) == f"error: {audit.folder / name}: {reason}"
    assert audit.started == []


def test_data_that_is_none_is_one_line(audit: Audit, network: Path, data: Path) -> None:
    ended = audit(network, audit.folder / "none")
    assert (
        ended == f"error: {audit.folder / 'none'}: no such folder; expected one with a folder of images for each class"
    )
    assert audit(data, network) == f"error: {data}: is a folder without saved_model.pb; give a SavedModel or a file"
    assert audit(network, data / "dark").startswith(
        f"error: {data / 'dark'}: has 0 class folders; expected two or more"
    )


def test_a_folder_that_cannot_be_written_is_one_line(audit: Audit, network: Path, data: Path) -> None:
    (audit.folder / "file").touch()
    ended = audit(network, data, "--folder", audit.folder / "file/out")
    assert ended.startswith("error: ")
    assert str(audit.folder / "file") in ended


def test_too_few_arguments_say_which(audit: Audit, network: Path, capsys: pytest.CaptureFixture) -> None:
    assert audit(network) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("the following arguments are required: data")

"""The archive of CIFAR-10 images, read by tarfile alone and compared with what the data stage makes of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from data_builder import entry
from PIL import Image

from qnn_robustness.data.download import download, mirrors_from_environment
from qnn_robustness.data.prepare import prepare
from qnn_robustness.data.registry import resolve
from qnn_robustness.data.splits import SPLITS, load_split

OVERLAY = Path(__file__).parents[2] / "config" / "cifar10_images.yaml"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not mirrors_from_environment(), reason="QNN_DATA_MIRROR is not set"),
]


def test_cifar10_images(tmp_path):
    base = entry(source="cifar10_binary", image_shape=[32, 32, 3], validation_samples=2000, calibration_samples=500)
    dataset = resolve(base | yaml.safe_load(OVERLAY.read_text())["datasets"]["cifar10"])
    path = tmp_path / dataset["archive"]
    download(dataset["archive"], dataset["urls"], dataset["checksum"], path)
    outputs = {name: tmp_path / name for name in (*(f"{split}.npz" for split in SPLITS), "summary")}
    prepare("cifar10", dataset, {"archive": path}, {name.removesuffix(".npz"): path for name, path in outputs.items()})
    splits = {split: load_split(tmp_path / f"{split}.npz") for split in SPLITS}
    assert {split: len(splits[split]) for split in SPLITS} == {
        "train": 47_500,
        "validation": 2000,
        "calibration": 500,
        "test": 1017,
    }
    lossless, test = set(), {}
    with tarfile.open(path) as tar:
        for member in tar:
            folder, class_name, name = member.name.split("/")
            if not name.endswith(".png"):
                continue
            pixels = np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB"))
            if folder == "train":
                lossless.add(pixels.tobytes())
            else:
                test[int(Path(name).stem)] = pixels, class_name
    for split in ("validation", "calibration"):
        assert all(sample.tobytes() in lossless for sample in splits[split].samples)
    np.testing.assert_array_equal(splits["test"].samples, [test[index][0] for index in range(1017)])
    classes = sorted({class_name for _, class_name in test.values()})
    assert splits["test"].labels.tolist() == [classes.index(test[index][1]) for index in range(1017)]

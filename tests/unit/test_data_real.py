"""Archives of real data, read by other means and compared with what the data stage makes of them."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import yaml
from data_builder import entry
from PIL import Image

from qnn_robustness.data.download import download, mirrors_from_environment
from qnn_robustness.data.prepare import prepare
from qnn_robustness.data.registry import files, resolve
from qnn_robustness.data.splits import SPLITS, load_split

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not mirrors_from_environment(), reason="QNN_DATA_MIRROR is not set"),
]


def prepared(name: str, overlay: str, folder: Path) -> tuple[dict, dict, dict]:
    """Return files, splits and summary of a data set of config.yaml with an overlay, its archives from the mirrors."""
    whole, changes = (yaml.safe_load(path.read_text()) for path in (ROOT / "config.yaml", ROOT / "config" / overlay))
    dataset = resolve(entry(**whole["datasets"][name]) | changes.get("datasets", {}).get(name, {}))
    paths = {pool: folder / file["archive"] for pool, file in files(dataset).items()}
    for pool, file in files(dataset).items():
        download(file["archive"], file["urls"], file["checksum"], paths[pool])
    outputs = {split: folder / f"{split}.npz" for split in SPLITS} | {"summary": folder / "summary.json"}
    prepare(name, dataset, paths, outputs)
    splits = {split: load_split(outputs[split]) for split in SPLITS}
    return paths, splits, json.loads(outputs["summary"].read_text())


def files_of(path: Path) -> tuple[Counter, int]:
    """Return the files of each class folder, and how many of all are different."""
    with tarfile.open(path) as tar:
        content = [(member.name.split("/")[-2], tar.extractfile(member).read()) for member in tar if member.isfile()]
    return Counter(folder for folder, _ in content), len({file for _, file in content})


def test_cifar10_images(tmp_path):
    paths, splits, _ = prepared("cifar10", "cifar10_images.yaml", tmp_path)
    path = paths["archive"]
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


@pytest.mark.parametrize(
    ("name", "overlay"),
    [("vww", "vww_eval.yaml"), ("coffee", "coffee.yaml"), ("speech_commands", "speech_commands_subset.yaml")],
)
def test_every_file_is_in_one_split_and_splits_are_stratified(tmp_path, name, overlay):
    paths, splits, summary = prepared(name, overlay, tmp_path)
    found, distinct = files_of(paths["archive"])
    counts = summary["samples_per_class"]
    assert {c: sum(counts[split][c] for split in SPLITS) for c in summary["classes"]} == dict(found)
    total = sum(found.values())
    for split in SPLITS:
        for class_name, count in counts[split].items():
            assert abs(count - found[class_name] * len(splits[split]) / total) < 2
    seen = {sample.tobytes() for split in splits.values() for sample in split.samples}
    assert len(seen) == distinct, "no sample is in two splits, but for clips that are in the archive twice"


def test_svhn(tmp_path):
    paths, splits, _ = prepared("svhn", "svhn_grey.yaml", tmp_path)
    content = scipy.io.loadmat(paths["test"])
    np.testing.assert_array_equal(splits["test"].samples, content["X"].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(splits["test"].labels, content["y"][:, 0] % 10)
    images = {image.tobytes() for image in scipy.io.loadmat(paths["train"])["X"].transpose(3, 0, 1, 2)}
    assert all(sample.tobytes() in images for split in SPLITS[:3] for sample in splits[split].samples)

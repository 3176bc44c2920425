"""Draw the splits of a data set and write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_arrays, sha256_path, write_arrays, write_json
from qnn_robustness.data.formats import EMBEDDED, SEVERAL, Pool, Source, reader
from qnn_robustness.data.splits import SPLITS, Sound, Split, stratified, to_range

# One random stream for each purpose: a change of one draw leaves the others as they are.
_STREAMS = {"test": 0, "validation": 1, "calibration": 2}


def prepare(
    name: str, dataset: dict[str, Any], archives: Mapping[str, Path], outputs: Mapping[str, str | Path]
) -> None:
    """Read a data set, draw its splits, and write one .npz for each and, last, `summary`.

    `outputs` has a path for each of train, validation, calibration, test and summary. `archives` is empty for
    embedded data, and otherwise has a path for each of the files that `registry.files` names.

    Raises UserError for whatever is wrong with the archive or the settings, naming the data set.
    """
    Path(outputs["summary"]).unlink(missing_ok=True)
    try:
        read = reader(dataset["format"])
        source = read(_input(dataset["format"], archives), dataset)
        splits = draw(source, dataset)
        feature_range, splits = _scaled(splits, dataset)
    except UserError as error:
        raise UserError(f"dataset '{name}': {error}") from error
    for split in SPLITS:
        write_arrays(outputs[split], **_arrays(splits[split]))
    write_json(outputs["summary"], _summary(name, dataset, archives, source.classes, splits, feature_range))


def _arrays(split: Split) -> dict[str, np.ndarray]:
    arrays = {"samples": split.samples, "labels": split.labels}
    if split.sound is None:
        return arrays
    return {**arrays, "sound": split.sound.clips, "feature_range": np.array(split.sound.feature_range)}


def _input(name: str, archives: Mapping[str, Path]) -> Path | Mapping[str, Path] | None:
    """Return what a format reads: nothing, a file, or files by the pool they hold."""
    if name in EMBEDDED:
        return None
    if name in SEVERAL and "archive" not in archives:
        return archives
    if "archive" not in archives:
        raise UserError(f"the format '{name}' reads an archive, and `archive` names none")
    return archives["archive"]


def draw(source: Source, dataset: dict[str, Any]) -> dict[str, Split]:
    """Return the four splits, disjoint, each in the canonical order of its source.

    Validation and calibration are drawn from the training pool, or from a pool `validation` (calibration from the
    test pool with `calibration_from_test`, for data sets without training images), stratified by the class shares of
    that whole pool, among the samples whose file extension `extensions` allows. The test split is the test pool, or,
    without one, a stratified share `test_fraction` of all samples; `test_samples` keeps a stratified part.
    Draws depend on `seed`, the purpose and the place in the canonical order only.

    Raises UserError when a class has too few samples for a draw, or test has one class only.
    """
    pools = _pools(source, dataset)
    held_out = "validation" if "validation" in pools else "train"
    from_test = bool(dataset.get("calibration_from_test"))
    if from_test and len(pools["train"].labels):
        raise UserError("calibration_from_test: is for data sets without training images; this one has some")
    extensions = dataset.get("extensions") or {}
    unknown = set(extensions) - set(SPLITS)
    if unknown:
        raise UserError(f"extensions: '{min(unknown)}' is no split; known: {', '.join(SPLITS)}")
    allowed = {(pool, split): _allowed(pools[pool], extensions.get(split)) for pool in pools for split in SPLITS}
    taken = {pool: np.zeros(len(pools[pool].labels), bool) for pool in pools}
    indices = {}
    for split, origin in (
        ("validation", held_out),
        ("calibration", "test" if from_test else held_out),
    ):
        pool = pools[origin]
        free = allowed[origin, split] & ~taken[origin]
        wanted = dataset[f"{split}_samples"]
        rows = _stratified(pool.labels, free, wanted, dataset["seed"], split, source.classes, origin)
        taken[origin][rows] = True
        indices[split] = (origin, rows)
    for split in ("train", "test"):
        indices[split] = (split, np.flatnonzero(allowed[split, split] & ~taken[split]))
    indices["test"] = ("test", _kept(pools["test"], indices["test"][1], dataset.get("test_samples")))
    splits = {split: _split(pools[origin], rows, split) for split, (origin, rows) in indices.items()}
    _check(splits, pools, source.classes)
    return splits


def _split(pool: Pool, rows: np.ndarray, name: str) -> Split:
    """Return a part of a pool as a split; only test data are attacked, and so need sound."""
    has_sound = name == "test" and pool.sound is not None
    sound = Sound(pool.sound[rows], (0.0, 1.0)) if has_sound else None
    return Split(pool.samples[rows], pool.labels[rows], sound)


def _pools(source: Source, dataset: dict[str, Any]) -> dict[str, Pool]:
    """Return the pools `train` and `test`, and `validation` if there is one: as they come, or drawn from `all`."""
    if "all" in source.pools:
        pool = source.pools["all"]
        fraction = dataset.get("test_fraction") or 0
        if not 0 < fraction < 1:
            raise UserError(f"test_fraction: is {fraction}; expected a number between 0 and 1")
        everything = np.ones(len(pool.labels), bool)
        count = round(fraction * len(pool.labels))
        rows = _stratified(pool.labels, everything, count, dataset["seed"], "test", source.classes, "all")
        in_test = ~everything
        in_test[rows] = True
        return {"train": _part(pool, ~in_test), "test": _part(pool, in_test)}
    if "test" not in source.pools:
        raise UserError("split_folders: names no folder for 'test'")
    test = source.pools["test"]
    return {"train": _part(test, np.zeros(len(test.labels), bool)), **source.pools}


def _part(pool: Pool, chosen: np.ndarray) -> Pool:
    sound = None if pool.sound is None else pool.sound[chosen]
    return Pool(pool.samples[chosen], pool.labels[chosen], pool.extensions[chosen], sound)


def _allowed(pool: Pool, extensions: list[str] | None) -> np.ndarray:
    if not extensions:
        return np.ones(len(pool.labels), bool)
    return np.isin(pool.extensions.astype(str), [extension.lower().lstrip(".") for extension in extensions])


def _stratified(
    labels: np.ndarray, free: np.ndarray, count: int, seed: int, split: str, classes: list[str], origin: str
) -> np.ndarray:
    """Return `count` sorted indices among the free ones, with the class shares of all `labels`."""
    if count == 0:
        return np.empty(0, np.int64)
    if split == "calibration" and not len(labels):
        raise UserError(
            "calibration: there are no training images to draw from; write `calibration_from_test: true` to "
            "set some test images aside, or calibration_samples: 0"
        )
    if count > len(labels):
        raise UserError(f"{split}_samples: {count} wanted, but there are {len(labels)} {origin} samples to draw from")
    # raw_random of a bit generator keeps its stream for ever; the draws of numpy's Generator may change
    ranks = np.random.PCG64([seed, _STREAMS[split]]).random_raw(len(labels))
    chosen = []
    for label, quota in enumerate(_quotas(np.bincount(labels, minlength=len(classes)), count)):
        candidates = np.flatnonzero(free & (labels == label))
        if len(candidates) < quota:
            raise UserError(
                f"{split}: {quota} samples of class '{classes[label]}' wanted, but the {origin} samples "
                f"have only {len(candidates)} left that `extensions` allows"
            )
        chosen.append(candidates[np.argsort(ranks[candidates], kind="stable")[:quota]])
    return np.sort(np.concatenate(chosen))


def _quotas(counts: np.ndarray, total: int) -> list[int]:
    """Share `total` among classes in proportion to `counts` by largest remainders, in whole numbers."""
    size = int(counts.sum())
    exact = [int(count) * total for count in counts]
    quotas = [value // size for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda label: (-(exact[label] % size), label))
    for label in by_remainder[: total - sum(quotas)]:
        quotas[label] += 1
    return quotas


def _kept(pool: Pool, rows: np.ndarray, wanted: int | None) -> np.ndarray:
    if wanted is None:
        return rows
    if wanted > len(rows):
        raise UserError(f"test_samples: {wanted} wanted, but there are {len(rows)} test samples")
    return rows[stratified(pool.labels[rows], wanted)]


def _check(splits: dict[str, Split], pools: dict[str, Pool], classes: list[str]) -> None:
    in_test = np.unique(splits["test"].labels)
    if len(in_test) < 2:
        found = f"the single class '{classes[in_test[0]]}'" if len(in_test) else "no sample"
        raise UserError(f"the test split has {found}; expected at least two classes (see test_samples, split_folders)")
    if len(pools["train"].labels):
        missing = np.setdiff1d(np.arange(len(classes)), splits["train"].labels)
        if len(missing):
            raise UserError(
                f"the train split has no sample of class '{classes[missing[0]]}' left; "
                "lower validation_samples, calibration_samples or test_fraction"
            )


def _scaled(splits: dict[str, Split], dataset: dict[str, Any]) -> tuple[list[float] | None, dict[str, Split]]:
    """Return the range of features that becomes [0, 1], and the splits in it; images (uint8) stay as they are.

    The range is `feature_range` of the data set, or that of the calibration split. One range for all coefficients keeps
    distances in proportion. What lies outside is clipped.
    """
    if splits["test"].samples.dtype == np.uint8:
        return None, splits
    low, high = dataset.get("feature_range") or _range(splits["calibration"].samples)
    if not low < high:
        raise UserError(f"feature_range: [{low:g}, {high:g}] is empty; expected [lowest, highest]")
    scaled = {
        name: Split(
            to_range(split.samples, (low, high)), split.labels, split.sound and Sound(split.sound.clips, (low, high))
        )
        for name, split in splits.items()
    }
    return [low, high], scaled


def _range(features: np.ndarray) -> tuple[float, float]:
    if not len(features):
        raise UserError("feature_range: there are no calibration samples to take it from; write [lowest, highest]")
    return float(features.min()), float(features.max())


def _summary(
    name: str,
    dataset: dict[str, Any],
    archives: Mapping[str, Path],
    classes: list[str],
    splits: dict[str, Split],
    feature_range: list[float] | None,
) -> dict[str, Any]:
    return {
        "dataset": name,
        "format": dataset["format"],
        "archives": {pool: {"file": path.name, "sha256": sha256_path(path)} for pool, path in archives.items()},
        "licence": dataset.get("licence"),
        "image_shape": list(splits["test"].samples.shape[1:]),
        "feature_range": feature_range,
        "classes": classes,
        "seed": dataset["seed"],
        "samples": {split: len(splits[split]) for split in SPLITS},
        "samples_per_class": {split: _counts(splits[split], classes) for split in SPLITS},
        "sha256": {split: sha256_arrays(splits[split].samples, splits[split].labels) for split in SPLITS},
    }


def _counts(split: Split, classes: list[str]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))

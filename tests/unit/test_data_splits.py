"""Splits are disjoint, stratified, reproducible and drawn from where they may be drawn."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from data_builder import entry, image_bytes, pixels_of, write_archive
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import read_arrays, sha256_file, write_arrays
from qnn_robustness.data import prepare as prepare_module
from qnn_robustness.data.formats import FORMATS, Pool, Source, cifar10_binary, digits, reader
from qnn_robustness.data.prepare import draw, prepare
from qnn_robustness.data.registry import SOURCES, files, resolve
from qnn_robustness.data.splits import SPLITS, Split, load_split, stratified, to_unit


def pool_of(labels, extensions=None, offset: int = 0) -> Pool:
    """A pool whose sample values are the places of the samples, so that a split shows what it holds."""
    places = np.arange(offset, offset + len(labels))
    samples = np.stack([places // 256, places % 256], axis=1).astype(np.uint8).reshape(-1, 1, 2, 1)
    extensions = [""] * len(labels) if extensions is None else extensions
    return Pool(samples, np.asarray(labels, np.int64), np.array(extensions, dtype=object))


def places(split: Split) -> list[int]:
    return (split.samples[:, 0, 0, 0].astype(int) * 256 + split.samples[:, 0, 1, 0]).tolist()


def source_of(train=None, test=None, whole=None, classes: int = 3) -> Source:
    pools = {"train": train, "test": test, "all": whole}
    return Source([f"c{label}" for label in range(classes)], {name: pool for name, pool in pools.items() if pool})


LABELS = st.lists(st.integers(0, 2), min_size=30, max_size=300)


def shares_are_kept(drawn: np.ndarray, origin: np.ndarray) -> bool:
    """Each class has its exact share of the draw, rounded up or down."""
    exact = np.bincount(origin, minlength=3) * len(drawn) / len(origin)
    return bool((np.abs(np.bincount(drawn, minlength=3) - exact) < 1).all())


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 2**32), validation=st.integers(0, 10), calibration=st.integers(0, 10))
def test_splits_of_a_training_pool(labels, seed, validation, calibration):
    assume(min(Counter(labels)[label] for label in range(3)) >= 9)
    train, test = pool_of(labels), pool_of([2, 1, 0, 1], offset=1000)
    settings_ = entry(seed=seed, validation_samples=validation, calibration_samples=calibration)
    splits = draw(source_of(train, test), settings_)
    assert (len(splits["validation"]), len(splits["calibration"])) == (validation, calibration)
    held = [places(splits[split]) for split in ("train", "validation", "calibration")]
    assert sorted(itertools.chain(*held)) == list(range(len(labels)))  # disjoint, and nothing is lost
    assert all(part == sorted(part) for part in held)  # canonical order
    for split, part in zip(("train", "validation", "calibration"), held, strict=True):
        assert splits[split].labels.tolist() == [labels[place] for place in part]
    assert shares_are_kept(splits["validation"].labels, train.labels)
    assert shares_are_kept(splits["calibration"].labels, train.labels)
    assert places(splits["test"]) == [1000, 1001, 1002, 1003]  # untouched


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 2**32), fraction=st.floats(0.1, 0.5))
def test_test_split_of_a_whole_pool(labels, seed, fraction):
    assume(min(Counter(labels)[label] for label in range(3)) >= 9)
    splits = draw(source_of(whole=pool_of(labels)), entry(seed=seed, test_fraction=fraction))
    assert len(splits["test"]) == round(fraction * len(labels))
    assert sorted(places(splits["train"]) + places(splits["test"])) == list(range(len(labels)))
    assert shares_are_kept(splits["test"].labels, np.array(labels))


def test_draws_depend_on_the_seed_and_on_nothing_else():
    labels = [0, 1, 2] * 100
    source = source_of(pool_of(labels), pool_of([0, 1]))

    def drawn(split: str, **changes) -> list[int]:
        return places(draw(source, entry(validation_samples=30, calibration_samples=30) | changes)[split])

    assert drawn("validation") == drawn("validation")
    assert drawn("validation") != drawn("validation", seed=1)
    assert drawn("validation") == drawn("validation", calibration_samples=0)
    assert set(drawn("validation")) < set(drawn("validation", validation_samples=60))
    assert drawn("calibration") != drawn("calibration", seed=1)


def test_the_draw_is_fixed_for_ever():
    """PCG64's raw stream is part of numpy's promise: these ranks decide every published split."""
    ranks = np.random.PCG64([0, 1]).random_raw(30)
    labels = np.array([0, 1, 2] * 10)
    expected = sorted(
        place for label in range(3) for place in sorted(np.flatnonzero(labels == label), key=ranks.__getitem__)[:2]
    )
    splits = draw(source_of(pool_of(labels), pool_of([0, 1])), entry(validation_samples=6))
    assert places(splits["validation"]) == expected


def test_extensions_restrict_a_split_but_not_its_class_shares():
    labels = [0] * 40 + [1] * 40 + [2] * 20
    extensions = ["png", "jpg", "jpg", "jpg"] * 25
    source = source_of(pool_of(labels, extensions), pool_of([0, 1, 2], ["png", "jpg", "png"]))
    only_png = {"validation": ["png"], "calibration": [".PNG"]}
    splits = draw(source, entry(validation_samples=10, calibration_samples=5, extensions=only_png))
    for split in ("validation", "calibration"):
        assert all(extensions[place] == "png" for place in places(splits[split]))
    assert np.bincount(splits["validation"].labels).tolist() == [4, 4, 2]
    assert np.bincount(splits["calibration"].labels).tolist() == [2, 2, 1]
    assert len(splits["train"]) == 85
    splits = draw(source, entry(extensions={"train": ["jpg"], "test": ["png"]}))
    assert [extensions[place] for place in places(splits["train"])] == ["jpg"] * 75
    assert splits["test"].labels.tolist() == [0, 2]


def test_calibration_set_aside_from_test():
    source = source_of(test=pool_of([0, 1, 2] * 20))
    splits = draw(source, entry(calibration_samples=6, calibration_from_test=True, test_samples=50))
    assert np.bincount(splits["calibration"].labels).tolist() == [2, 2, 2]
    rest = [place for place in range(60) if place not in places(splits["calibration"])]
    assert places(splits["test"]) == rest[:50]
    for split in ("train", "validation"):
        assert splits[split].samples.shape == (0, 1, 2, 1)
        assert splits[split].labels.dtype == np.int64


TRAIN, TEST = pool_of([0, 1, 2] * 5), pool_of([0, 1, 2])


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        (source_of(TRAIN, pool_of([1, 1])), {}, "the test split has the single class 'c1'"),
        (source_of(TRAIN, TEST), {"test_samples": 1}, "the test split has the single class 'c0'"),
        (source_of(TRAIN, TEST), {"extensions": {"test": ["png"]}}, "the test split has no sample"),
        (source_of(TRAIN, TEST), {"test_samples": 4}, "test_samples: 4 wanted, but there are 3"),
        (
            source_of(TRAIN, TEST),
            {"validation_samples": 16},
            "validation_samples: 16 wanted, but there are 15 train",
        ),
        (
            source_of(TRAIN, TEST),
            {"validation_samples": 9, "calibration_samples": 9},
            "calibration: 3 samples of class 'c0' wanted, but the train samples have only 2",
        ),
        (
            source_of(TRAIN, TEST),
            {"validation_samples": 15},
            "the train split has no sample of class 'c0' left",
        ),
        (
            source_of(TRAIN, TEST),
            {"validation_samples": 3, "extensions": {"validation": ["png"]}},
            "have only 0 left that `extensions` allows",
        ),
        (source_of(TRAIN, TEST), {"extensions": {"val": ["png"]}}, "extensions: 'val' is no split"),
        (
            source_of(TRAIN, TEST),
            {"calibration_from_test": True},
            "calibration_from_test: is for data sets without training",
        ),
        (source_of(test=TEST), {"calibration_samples": 2}, "write `calibration_from_test: true`"),
        (
            source_of(test=TEST),
            {"validation_samples": 2},
            "validation_samples: 2 wanted, but there are 0 train",
        ),
        (source_of(TRAIN), {}, "names no folder for 'test'"),
        (source_of(whole=TRAIN), {"test_fraction": 0}, "test_fraction: is 0;"),
        (source_of(whole=TRAIN), {"test_fraction": 1.0}, "test_fraction: is 1.0;"),
    ],
)
def test_splits_that_cannot_be(source, changes, words):
    with pytest.raises(UserError) as caught:
        draw(source, entry(**changes))
    assert words in str(caught.value)


# -- formats without images of their own ------------------------------------------------------------------


def test_digits():
    source = digits.read(None, entry(format="digits", image_shape=[8, 8, 1]))
    pool, original = source.pools["all"], load_digits()
    assert pool.samples.shape == (1797, 8, 8, 1)
    assert np.abs(pool.samples[..., 0] - original.images * 255 / 16).max() <= 0.5
    assert (pool.samples.min(), pool.samples.max()) == (0, 255)
    assert pool.labels.tolist() == original.target.tolist()
    assert source.classes == list("0123456789")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_shape": [8, 8, 3]}, "expected [8, 8, 1]"),
        ({"classes": ["a", "b"]}, "classes: ['a', 'b'] does not fit"),
    ],
)
def test_digits_with_other_settings(changes, words):
    with pytest.raises(UserError) as caught:
        digits.read(None, entry(format="digits", image_shape=[8, 8, 1]) | changes)
    assert words in str(caught.value)


NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar_files(rows: int) -> dict[str, bytes]:
    """A binary archive with random images, `rows` a batch, written plane by plane."""
    files = {"cifar-10-batches-bin/batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode()}
    for number, name in enumerate([*(f"data_batch_{batch}" for batch in range(1, 6)), "test_batch"]):
        content = b""
        for row in range(rows):
            pixels = pixels_of(100 * number + row, (32, 32, 3))
            content += bytes([(number + row) % 10]) + b"".join(pixels[:, :, plane].tobytes() for plane in range(3))
        files[f"cifar-10-batches-bin/{name}.bin"] = content
    return files


CIFAR = entry(format="cifar10_binary", image_shape=[32, 32, 3])


@pytest.mark.parametrize("kind", ["x.tar.gz", "x.zip"])
def test_cifar10_binary(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(cifar10_binary, "BATCH_SAMPLES", 7)
    files = cifar_files(7) | {"cifar-10-batches-bin/readme.html": b""}
    source = cifar10_binary.read(write_archive(tmp_path / kind, dict(reversed(files.items()))), CIFAR)
    assert source.classes == NAMES
    expected = [pixels_of(100 * batch + row, (32, 32, 3)) for batch in range(5) for row in range(7)]
    np.testing.assert_array_equal(source.pools["train"].samples, expected)
    assert source.pools["train"].labels.tolist() == [(batch + row) % 10 for batch in range(5) for row in range(7)]
    np.testing.assert_array_equal(source.pools["test"].samples, [pixels_of(500 + row, (32, 32, 3)) for row in range(7)])
    assert source.pools["test"].labels.tolist() == [5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"cifar-10-batches-bin/test_batch.bin": b"x" * 3073},
            "'cifar-10-batches-bin/test_batch.bin' has 3,073 bytes; expected 6,146",
        ),
        ({"cifar-10-batches-bin/data_batch_3.bin": b"\x0a" * 6146}, "has label 10; expected 0 to 9"),
        ({"cifar-10-batches-bin/batches.meta.txt": b"cat\ndog\n"}, "names 2 classes; expected 10"),
        (
            {"cifar-10-batches-bin/data_batch_5.bin": None},
            "has no member 'cifar-10-batches-bin/data_batch_5.bin'",
        ),
    ],
)
def test_bad_cifar10_binary(tmp_path, monkeypatch, change, words):
    monkeypatch.setattr(cifar10_binary, "BATCH_SAMPLES", 2)
    files = {name: content for name, content in (cifar_files(2) | change).items() if content is not None}
    with pytest.raises(UserError) as caught:
        cifar10_binary.read(write_archive(tmp_path / "x.tar.gz", files), CIFAR)
    assert words in str(caught.value)


def test_formats_are_loaded_by_name():
    assert all(callable(reader(name)) for name in FORMATS)
    with pytest.raises(UserError, match="no data format 'image_folders'; did you mean 'image_folder'"):
        reader("image_folders")


# -- writing and reading splits -----------------------------------------------------------------------------


def outputs_in(folder) -> dict:
    return {split: folder / f"{split}.npz" for split in SPLITS} | {"summary": folder / "summary.json"}


def prepared(tmp_path, **changes) -> tuple[dict, dict]:
    files = {f"{c}/{n}.png": image_bytes(pixels_of(10 * n + ord(c))) for c in "ab" for n in range(20)}
    path = write_archive(tmp_path / "x.zip", files)
    outputs = outputs_in(tmp_path / "data")
    prepare(
        "letters",
        entry(archive="x.zip", validation_samples=6, calibration_samples=4) | changes,
        {"archive": path},
        outputs,
    )
    return outputs, json.loads(outputs["summary"].read_text())


def test_prepare_writes_the_splits_and_their_summary(tmp_path):
    outputs, summary = prepared(tmp_path)
    splits = {split: load_split(outputs[split]) for split in SPLITS}
    assert summary["samples"] == {"train": 20, "validation": 6, "calibration": 4, "test": 10}
    assert summary["samples_per_class"]["validation"] == {"a": 3, "b": 3}
    assert summary["archives"] == {"archive": {"file": "x.zip", "sha256": sha256_file(tmp_path / "x.zip")}}
    assert summary["classes"] == ["a", "b"]
    everything = {sample.tobytes() for split in splits.values() for sample in split.samples}
    assert everything == {pixels_of(10 * n + ord(c)).tobytes() for c in "ab" for n in range(20)}
    assert {entry.name for entry in outputs["summary"].parent.iterdir()} == {path.name for path in outputs.values()}


def test_summary_hashes_change_with_the_arrays_only(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    _, one = prepared(tmp_path / "one")
    _, two = prepared(tmp_path / "two", licence="other")
    _, three = prepared(tmp_path / "three", seed=1)
    assert one["sha256"] == two["sha256"]
    assert all(one["sha256"][split] != three["sha256"][split] for split in SPLITS)


def test_the_summary_is_written_last(tmp_path, monkeypatch):
    """A job that dies while it writes leaves no summary, not even an old one."""
    outputs, _ = prepared(tmp_path)

    def die(path, **arrays):
        if "calibration" in str(path):
            raise KeyboardInterrupt
        write_arrays(path, **arrays)

    monkeypatch.setattr(prepare_module, "write_arrays", die)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path)
    assert not outputs["summary"].exists()


def test_prepare_names_the_data_set(tmp_path):
    outputs = outputs_in(tmp_path)
    with pytest.raises(UserError, match=r"^dataset 'letters': .*gone\.zip: no such file$"):
        prepare("letters", entry(archive="gone.zip"), {"archive": tmp_path / "gone.zip"}, outputs)
    with pytest.raises(UserError, match=r"^dataset 'letters': .*no data format 'digit'; did you mean 'digits'"):
        prepare("letters", entry(format="digit"), {}, outputs)
    with pytest.raises(UserError, match=r"^dataset 'letters': the format 'image_folder' reads an archive"):
        prepare("letters", entry(), {}, outputs)
    with pytest.raises(UserError, match=r"^dataset 'letters': the format 'image_folder' reads an archive"):
        prepare("letters", entry(), {"train": tmp_path / "a", "test": tmp_path / "b"}, outputs)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"samples": np.zeros((2, 4, 4, 3), np.uint8)}, "has no array 'labels'"),
        ({"samples": np.zeros((2, 4, 4, 3)), "labels": np.zeros(2, np.int64)}, "samples are float64"),
        (
            {"samples": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(2, np.int64)},
            "expected uint8 [N, H, W, C]",
        ),
        (
            {"samples": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.zeros(3, np.int64)},
            "expected int64 (2,)",
        ),
        ({"samples": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.zeros(2, np.int32)}, "labels are int32"),
        ({"samples": np.zeros((1, 4, 4, 3), np.uint8), "labels": np.array([-1])}, "negative labels"),
    ],
)
def test_load_split_refuses_what_prepare_never_writes(tmp_path, arrays, words):
    write_arrays(tmp_path / "test.npz", **arrays)
    with pytest.raises(UserError) as caught:
        load_split(tmp_path / "test.npz")
    assert words in str(caught.value)
    assert str(tmp_path / "test.npz") in str(caught.value)


def test_missing_and_truncated_splits(tmp_path):
    outputs, _ = prepared(tmp_path)
    content = outputs["train"].read_bytes()
    outputs["train"].write_bytes(content[: len(content) // 2])
    for path, words in ((outputs["train"], "not a readable .npz"), (tmp_path / "gone.npz", "no such file")):
        with pytest.raises(UserError, match=words):
            load_split(path)
    assert read_arrays(outputs["test"])  # the others are untouched


def test_to_unit_is_the_exact_division():
    values = np.arange(256, dtype=np.uint8)
    unit = to_unit(values)
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit, (np.arange(256) / 255).astype(np.float32))
    np.testing.assert_array_equal(np.round(unit * 255).astype(np.uint8), values)


# -- registry --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_registered_sources_are_complete(name):
    source = resolve(entry(source=name, licence=None))
    assert source["licence"]
    assert files(source)
    for file in files(source).values():
        assert file["archive"]
        assert all(url.startswith(("https://", "http://")) for url in file["urls"])
        assert file["urls"]
        if name == "coffee_leaf":
            assert file["checksum"] is None  # none is published
        else:
            algorithm, digest = file["checksum"].split(":")
            assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]


def test_one_of_several_files_may_be_ones_own():
    own = {"train": {"archive": "mine.mat", "checksum": "md5:0"}, "test": {"checksum": "md5:1"}}
    resolved = resolve(entry(source="svhn", archives=own))
    official = files(resolve(entry(source="svhn")))
    assert files(resolved) == {
        "train": {"archive": "mine.mat", "urls": [], "checksum": "md5:0"},
        "test": {**official["test"], "checksum": "md5:1"},
    }


def test_a_single_archive_stands_in_for_several():
    resolved = resolve(entry(source="speech_commands", archive="mine.tar.gz", checksum="md5:0"))
    assert files(resolved) == {"archive": {"archive": "mine.tar.gz", "urls": [], "checksum": "md5:0"}}


def test_the_entry_wins_over_the_registry():
    official = resolve(entry(source="cifar10_binary"))
    assert official["archive"] == "cifar-10-binary.tar.gz"
    assert resolve(entry(source="cifar10_binary", urls=["http://here/x"]))["urls"] == ["http://here/x"]
    assert resolve(entry(source="cifar10_binary", urls=["http://here/x"]))["checksum"] == official["checksum"]
    assert resolve(entry(source="cifar10_binary", checksum="md5:0"))["checksum"] == "md5:0"


def test_another_archive_takes_nothing_from_the_official_one():
    """Neither an address that serves another file nor a checksum that cannot fit."""
    resolved = resolve(entry(source="cifar10_binary", archive="mine.zip"))
    assert (resolved["archive"], resolved["urls"], resolved["checksum"]) == ("mine.zip", [], None)


def test_unknown_source():
    with pytest.raises(UserError, match="'cifar10_binry' is not in the registry; did you mean 'cifar10_binary'"):
        resolve(entry(source="cifar10_binry"))


def test_entries_without_a_source_are_kept():
    assert resolve(entry(format="digits")) == entry(format="digits")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_a_part_has_the_class_shares_of_the_whole(labels, data):
    labels = np.array(labels)
    count = data.draw(st.integers(0, len(labels)))
    part = stratified(labels, count)
    assert len(part) == count
    classes, sizes = np.unique(labels, return_counts=True)
    for label, size in zip(classes, sizes, strict=True):
        # Half a sample is rounded in each class; what the classes round together is shared in proportion.
        most = 0.5 + len(classes) / 2 * size / len(labels) + 1e-9
        assert abs((labels[part] == label).sum() - count * size / len(labels)) <= most
        places = np.flatnonzero(labels == label)
        np.testing.assert_array_equal(part[labels[part] == label], places[: (labels[part] == label).sum()])
    assert set(stratified(labels, max(0, count - 1))) <= set(part)


def test_a_part_of_a_sorted_balanced_split_is_balanced():
    labels = np.repeat(np.arange(10), 100)
    np.testing.assert_array_equal(np.bincount(labels[stratified(labels, 200)]), np.full(10, 20))


def test_more_samples_than_there_are():
    with pytest.raises(UserError, match="4 samples wanted, but there are 3"):
        stratified(np.array([0, 1, 1]), 4)

"""Image archives: layout, canonical order, decoding, and one line for whatever is wrong."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from data_builder import entry, image_bytes, pixels_of, write_archive
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.formats import image_folder
from qnn_robustness.data.formats.image_folder import read

KINDS = ("images.tar.gz", "images.zip")
SPLIT_FOLDERS = {"train": "train", "test": "test"}


def files_of(*names: str) -> dict[str, bytes]:
    """Lossless images, each with pixels of its own."""
    return {
        name: image_bytes(pixels_of(number), "BMP" if name.endswith("bmp") else "PNG")
        for number, name in enumerate(names)
    }


def refused(path, words: str, **changes) -> None:
    with pytest.raises(UserError) as caught:
        read(path, entry(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_split_folders_and_canonical_order(tmp_path, kind):
    """Images come by number, then class, whatever the zeros in names and the order in the archive."""
    names = [
        "train/dog/2.png",
        "train/cat/010.png",
        "train/cat/0003.png",
        "train/dog/3.bmp",
        "train/dog/9.png",
        "test/cat/b.png",
        "test/dog/a.png",
        "test_jpeg/cat/unused.jpg",
        "README.txt",
        "train/labels.csv",
    ]
    files = files_of(*names) | {
        "test_jpeg/cat/unused.jpg": b"broken",
        "README.txt": b"?",
        "train/labels.csv": b"",
    }
    source = read(write_archive(tmp_path / kind, files), entry(split_folders=SPLIT_FOLDERS))
    assert source.classes == ["cat", "dog"]
    assert set(source.pools) == {"train", "test"}
    train, test = source.pools["train"], source.pools["test"]
    expected = [
        names.index(f"train/{name}") for name in ("dog/2.png", "cat/0003.png", "dog/3.bmp", "dog/9.png", "cat/010.png")
    ]
    np.testing.assert_array_equal(train.samples, [pixels_of(number) for number in expected])
    assert train.labels.tolist() == [1, 0, 1, 1, 0]
    assert train.extensions.tolist() == ["png", "png", "bmp", "png", "png"]
    np.testing.assert_array_equal(test.samples, [pixels_of(6), pixels_of(5)])
    assert test.labels.tolist() == [1, 0]
    assert (train.samples.dtype, train.labels.dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize("split_folders", [None, SPLIT_FOLDERS])
def test_a_folder_is_read_as_its_archive_is(tmp_path, split_folders):
    inside = "" if split_folders is None else "test/"
    names = [f"{inside}{label}/{number}.png" for label in ("cat", "dog") for number in (10, 2)]
    names += [] if split_folders is None else [name.replace("test", "train") for name in names]
    files = files_of(*names)
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    packed = read(write_archive(tmp_path / "images.zip", files), entry(split_folders=split_folders))
    plain = read(tmp_path / "folder", entry(split_folders=split_folders))
    assert plain.classes == packed.classes
    assert plain.pools.keys() == packed.pools.keys()
    for pool, expected in packed.pools.items():
        np.testing.assert_array_equal(plain.pools[pool].samples, expected.samples)
        np.testing.assert_array_equal(plain.pools[pool].labels, expected.labels)


def test_a_folder_with_a_link_is_refused(tmp_path):
    (tmp_path / "folder" / "cat").mkdir(parents=True)
    (tmp_path / "folder" / "cat" / "1.png").symlink_to("/etc/passwd")
    refused(tmp_path / "folder", "'cat/1.png' is a link")


def test_class_folders_may_all_be_the_test_split(tmp_path):
    path = write_archive(tmp_path / "images.zip", files_of("cat/1.png", "dog/1.png"))
    source = read(path, entry(split_folders={"test": "."}))
    assert {pool: len(samples.labels) for pool, samples in source.pools.items()} == {"test": 2}
    refused(path, "holds the folder of the other split", split_folders={"train": "cat", "test": "."})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_order_in_the_archive_does_not_matter(tmp_path_factory, seed, kind):
    folder = tmp_path_factory.getbasetemp()
    files = files_of(*(f"{label}/{number}.png" for label in "ab" for number in range(6)))
    shuffled = list(files.items())
    random.Random(seed).shuffle(shuffled)
    first = read(write_archive(folder / f"first-{kind}", files), entry()).pools["all"]
    second = read(write_archive(folder / f"second-{kind}", dict(shuffled)), entry()).pools["all"]
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_array_equal(first.labels, second.labels)


@given(st.lists(st.tuples(st.integers(0, 10**30), st.integers(0, 3)), min_size=2, max_size=6))
def test_numbers_in_names_sort_as_numbers(numbers):
    keys = [(image_folder._natural(f"img{'0' * zeros}{number}"), number) for number, zeros in numbers]
    assert [number for _, number in sorted(keys)] == sorted(number for number, _ in numbers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapper", ["", "set/", "./set/"])
def test_no_split_folders_a_folder_around_it_and_clutter(tmp_path, kind, wrapper):
    files = {f"{wrapper}{name}": content for name, content in files_of("b/1.png", "a/1.png").items()}
    clutter = {f"{wrapper}a/.DS_Store": b"", f"{wrapper}a/Thumbs.db": b"", f"{wrapper}a/._1.png": b""}
    folders = {"set/": b""} if wrapper else {}
    source = read(write_archive(tmp_path / kind, {**folders, **clutter, **files}), entry())
    assert source.classes == ["a", "b"]
    np.testing.assert_array_equal(source.pools["all"].samples, [pixels_of(1), pixels_of(0)])


def test_a_wrapped_archive_with_split_folders(tmp_path):
    files = files_of("set/test/b/1.png", "set/test/a/1.png")
    source = read(write_archive(tmp_path / "x.zip", files), entry(split_folders={"test": "test"}))
    assert source.pools["test"].labels.tolist() == [0, 1]


def test_folders_of_other_names_and_configured_classes(tmp_path):
    files = files_of(
        "train/cat/1.png",
        "train/dog/2.png",
        "learn/cat/1.png",
        "learn/dog/2.png",
        "exam/cat/3.png",
        "exam/dog/4.png",
    )
    folders = {"train": "learn", "test": "exam"}
    source = read(write_archive(tmp_path / "x.zip", files), entry(split_folders=folders, classes=["dog", "cat"]))
    assert source.classes == ["dog", "cat"]
    assert source.pools["train"].labels.tolist() == [1, 0]
    np.testing.assert_array_equal(source.pools["train"].samples, [pixels_of(2), pixels_of(3)])
    np.testing.assert_array_equal(source.pools["test"].samples, [pixels_of(4), pixels_of(5)])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("stored", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_grey_or_rgb(tmp_path, channels, mode, stored):
    image = Image.fromarray(pixels_of(1, (4, 5, 3))).convert(stored)
    kind = "JPEG" if stored == "CMYK" else "PNG"
    stream = io.BytesIO()
    image.save(stream, kind)
    name = f"1.{'jpg' if kind == 'JPEG' else 'png'}"
    path = write_archive(tmp_path / "x.zip", {f"a/{name}": stream.getvalue(), f"b/{name}": stream.getvalue()})
    samples = read(path, entry(image_shape=[4, 5, channels])).pools["all"].samples
    assert samples.shape == (2, 4, 5, channels)
    expected = np.asarray(Image.open(stream).convert(mode)).reshape(4, 5, channels)
    np.testing.assert_array_equal(samples[0], expected)


def test_only_other_sizes_are_resized_and_antialiased(tmp_path):
    """Columns that alternate black and white average to grey; without antialiasing they would stay either."""
    stripes = np.zeros((32, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    path = write_archive(tmp_path / "x.zip", {"a/1.png": image_bytes(stripes), "b/1.png": image_bytes(pixels_of(1))})
    samples = read(path, entry()).pools["all"].samples
    inner = samples[0][:, 1:-1].astype(float)
    assert np.abs(inner - 127.5).max() < 20
    np.testing.assert_array_equal(samples[1], pixels_of(1))


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = image_bytes(pixels_of(1)[::-1, ::-1], exif=exif.tobytes())
    path = write_archive(tmp_path / "x.zip", {"a/1.png": turned, "b/1.png": image_bytes(pixels_of(2))})
    np.testing.assert_array_equal(read(path, entry()).pools["all"].samples[0], pixels_of(1))


def png_of_size(width: int, height: int, bits: int = 8) -> bytes:
    """An RGB PNG whose header claims any size and depth."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def sixteen_bit() -> bytes:
    return image_bytes(np.full((4, 5), 1000, np.uint16))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


GOOD = image_bytes(pixels_of(1))
JPEG = image_bytes(pixels_of(1, (40, 50, 3)), "JPEG")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("9.png", b"", "is corrupt or no PNG"),
        ("9.png", b"not an image", "is corrupt or no PNG"),
        ("9.png", GOOD[:-20], "is corrupt"),
        ("9.png", flipped(GOOD, GOOD.index(b"IDAT") + 20), "is corrupt"),
        ("9.png", flipped(GOOD, GOOD.index(b"IDAT") - 10), "is corrupt"),
        ("9.jpg", JPEG[: len(JPEG) // 2], "is corrupt (image file is truncated"),
        ("9.bmp", image_bytes(pixels_of(1), "BMP")[:-10], "is corrupt"),
        ("9.png", image_bytes(pixels_of(1), "GIF"), "is corrupt or no PNG"),
        ("9.png", JPEG, "is lossy JPEG data under the name of a lossless file"),
        ("9.png", png_of_size(10_000, 8_000), "has 10000x8000 pixels, more than the 50,000,000"),
        ("9.png", png_of_size(60_000, 60_000), "has more than the 50,000,000 pixels"),
        ("9.png", sixteen_bit(), "not 8 bits a channel"),
        ("9.png", png_of_size(5, 4, bits=16), "has 16 bits a channel, not 8"),
        ("9.gif", b"", "is no png, jpg, jpeg, bmp file"),
        ("notes.txt", b"", "is no png, jpg, jpeg, bmp file"),
        ("deep/9.png", GOOD, "is too deep"),
    ],
)
def test_bad_images(tmp_path, kind, name, content, words):
    files = files_of("a/1.png", "b/1.png", "b/2.png") | {f"b/{name}": content}
    path = write_archive(tmp_path / kind, files)
    with pytest.raises(UserError) as caught:
        read(path, entry())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert f"'b/{name}'" in message
    assert words in message
    assert "\n" not in message


def test_the_pillow_limit_is_not_the_only_one(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_PIXELS", 19)
    refused(write_archive(tmp_path / "x.zip", files_of("a/1.png", "b/1.png")), "has 5x4 pixels, more than the 19")


@settings(max_examples=100, deadline=None)
@given(data=st.data(), original=st.sampled_from([GOOD, JPEG, image_bytes(pixels_of(1), "BMP")]))
def test_a_damaged_image_is_a_sample_or_one_line(data, original):
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        sample = image_folder._decode("x.zip", "a/1.jpg", bytes(content), (5, 4), "RGB")
    except UserError:
        return  # anything else fails the test
    assert (sample.shape, sample.dtype) == ((4, 5, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_class_folder(tmp_path, kind):
    path = write_archive(tmp_path / kind, {"c/": b"", **files_of("a/1.png", "b/1.png")})
    refused(path, "class folder 'c' is empty or missing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (["a/1.png", "b/1.png"], {"classes": ["a", "b", "c"]}, "class folder 'c' is empty or missing"),
        (
            ["a/1.png", "bb/1.png"],
            {"classes": ["a", "bbb"]},
            "class folder 'bb' is not in `classes`; did you mean 'bbb'?",
        ),
        (
            ["train/a/1.png", "train/b/1.png", "test/a/1.png"],
            {"split_folders": SPLIT_FOLDERS},
            "class folder 'test/b' is empty or missing",
        ),
        (
            ["train/a/1.png", "train/b/1.png"],
            {"split_folders": SPLIT_FOLDERS},
            "has no split folder 'test'; known: train",
        ),
        (
            ["train/a/1.png", "testing/a/1.png"],
            {"split_folders": SPLIT_FOLDERS},
            "has no split folder 'test'; did you mean 'testing'?",
        ),
        (
            ["a/1.png", "b/1.png"],
            {"split_folders": {"trian": "a"}},
            "'trian' is no split with a folder; did you mean 'train'?",
        ),
        (["a/1.png", "b/1.png"], {"split_folders": {"train": "a/b"}}, "'a/b' is not the name of a folder"),
        (["a/1.png", "b/1.png"], {"split_folders": {"train": "a", "test": "a"}}, "are both 'a'"),
        (["1.png"], {}, "has no class folders"),
        (["a/1.png", "b/1.png", "2.png"], {}, "image '2.png' lies beside the class folders"),
        (
            ["train/a/1.png", "train/2.png", "test/a/1.png"],
            {"split_folders": SPLIT_FOLDERS},
            "image 'train/2.png' lies beside the class folders",
        ),
        (["readme.txt"], {}, "has no class folders"),
        (["a/1.png", "b/1.png"], {"image_shape": [4, 5, 2]}, "image_shape: [4, 5, 2] is not"),
        (["a/1.png", "b/1.png"], {"image_shape": [4, 5]}, "image_shape: [4, 5] is not"),
        (["a/1.png", "b/1.png"], {"image_shape": [0, 5, 3]}, "image_shape: [0, 5, 3] is not"),
    ],
)
def test_bad_layouts(tmp_path, kind, names, changes, words):
    refused(write_archive(tmp_path / kind, files_of(*names)), words, **changes)


def test_split_folder_without_classes(tmp_path):
    path = write_archive(tmp_path / "x.zip", {"test/": b"", **files_of("train/a/1.png", "train/b/1.png")})
    refused(path, "class folder 'test/a' is empty or missing", split_folders=SPLIT_FOLDERS)


def test_empty_archive(tmp_path):
    for kind in KINDS:
        refused(write_archive(tmp_path / kind, {}), "has no class folders")

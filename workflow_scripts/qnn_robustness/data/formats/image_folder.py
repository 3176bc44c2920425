"""Image files in class folders, `[split folder]/<class>/<file>`, in a folder or packed as tar.gz or zip."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from qnn_robustness.common.errors import UserError, did_you_mean
from qnn_robustness.common.files import is_clutter
from qnn_robustness.common.progress import progress
from qnn_robustness.data.archives import Member, list_members, read_members, shown
from qnn_robustness.data.formats import Pool, Source

EXTENSIONS = ("png", "jpg", "jpeg", "bmp")
MAX_PIXELS = 50_000_000
PNG_DEPTH = 24  # place of the bits a channel in the header
POOLS = ("train", "test")
WHOLE = "."

_MODES = {1: "L", 3: "RGB"}
_EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"}


@dataclass(frozen=True)
class _File:
    """An image of the archive: where it is, and which pool and class it belongs to."""

    member: str
    pool: str
    class_name: str

    @property
    def extension(self) -> str:
        return _extension(self.member)

    @property
    def order(self) -> tuple:
        """By number in the file name, whatever its zeros; then by what makes the order total."""
        stem = PurePosixPath(self.member).stem
        return _natural(stem), stem, self.class_name, self.member


def read(archive: Path | None, dataset: dict[str, Any]) -> Source:
    """Return the images of an archive in canonical order: by file name (numbers as numbers), then by class.

    Images are turned upright as their EXIF data say, converted to 8-bit RGB or grey as the last entry of
    `image_shape` [H, W, 3 or 1] says, and resized (bilinear, antialiased, without keeping the aspect ratio)
    where their size differs. The classes are `classes` of the data set in that order, or the sorted names of
    the class folders. `split_folders` names the folder of `train` and of `test`; other folders are ignored;
    without it the images form one pool `all`; the folder `.` takes all of them for one split. A folder around
    the whole archive is left out of account.

    Raises UserError for a missing split folder, an empty or unknown class folder, and a file that is no whole
    8-bit image of a known type.
    """
    height, width, mode = _target(dataset["image_shape"])
    files, classes = listed(archive, dataset)
    samples = _decode_all(archive, files, height, width, mode)
    labels = np.array([classes.index(file.class_name) for file in files], dtype=np.int64)
    extensions = np.array([file.extension for file in files], dtype=object)
    pools = {}
    for pool in _split_folders(dataset.get("split_folders")).values():
        rows = np.flatnonzero([file.pool == pool for file in files])
        pools[pool] = Pool(samples[rows], labels[rows], extensions[rows])
    return Source(classes, pools)


def listed(archive: Path, dataset: dict[str, Any]) -> tuple[list[_File], list[str]]:
    """Return the images of an archive in canonical order, before they are read, and the classes.

    Raises UserError for what `read` refuses in folders and names.
    """
    split_folders = _split_folders(dataset.get("split_folders"))
    class_folders = _class_folders(archive, list_members(archive), split_folders)
    classes = _classes(archive, dataset.get("classes"), class_folders, split_folders)
    files = (file for files in class_folders.values() for file in files)
    return sorted(files, key=lambda file: file.order), classes


def _target(shape: list[int]) -> tuple[int, int, str]:
    if len(shape) != 3 or shape[2] not in _MODES or min(shape) < 1:
        raise UserError(f"image_shape: {list(shape)} is not [height, width, 1 (grey) or 3 (RGB)]")
    return shape[0], shape[1], _MODES[shape[2]]


def _split_folders(configured: dict[str, str] | None) -> dict[str, str]:
    """Return the pool of each folder. The archive itself is the folder ''; without configuration its pool is `all`."""
    configured = configured or {}
    for pool, folder in configured.items():
        if pool not in POOLS:
            raise UserError(f"split_folders: '{pool}' is no split with a folder; {did_you_mean(pool, POOLS)}")
        if "/" in folder or not folder:
            raise UserError(f"split_folders: {pool}: '{folder}' is not the name of a folder at the top")
    pools = {folder: pool for pool, folder in configured.items()}
    if len(pools) < len(configured):
        raise UserError(f"split_folders: train and test are both '{min(pools)}'; they must not share images")
    if WHOLE in pools and len(pools) > 1:
        raise UserError(f"split_folders: '{WHOLE}' holds the folder of the other split as well")
    return {"" if folder == WHOLE else folder: pool for folder, pool in pools.items()} or {"": "all"}


def _class_folders(
    archive: Path, members: list[Member], split_folders: dict[str, str]
) -> dict[tuple[str, str], list[_File]]:
    """Return the images in each class folder, by (split folder, class)."""
    paths = _paths(members, "" in split_folders)
    for folder in split_folders:
        if folder and not any(path.split_folder == folder for path in paths):
            known = {path.split_folder for path in paths}
            raise UserError(f"{archive}: has no split folder '{folder}'; {did_you_mean(folder, known)}")
    found: dict[tuple[str, str], list[_File]] = {}
    beside = []
    for path in paths:
        if path.split_folder not in split_folders or not path.class_name:
            continue
        if not path.rest and not path.member.is_folder:
            beside.append(path.member.name)
            continue
        files = found.setdefault((path.split_folder, path.class_name), [])
        if path.rest:
            _require_image(archive, path)
            files.append(_File(path.member.name, split_folders[path.split_folder], path.class_name))
    images = [name for name in beside if _extension(name) in EXTENSIONS]  # a list or a licence may be there as well
    if found and images:
        raise UserError(
            f"{archive}: image {shown(images[0])} lies beside the class folders; move it into one or remove it"
        )
    return found


@dataclass(frozen=True)
class _Path:
    """A member by its place: [split folder]/<class>/<rest>, '' for what it does not reach."""

    member: Member
    split_folder: str
    class_name: str
    rest: str


def _paths(members: list[Member], whole: bool) -> list[_Path]:
    """Take members apart; with `whole` there are no split folders."""
    split = [(member.name.split("/"), member) for member in members if not is_clutter(member.name)]
    expected = 2 if whole else 3
    depth = max((len(parts) for parts, member in split if not member.is_folder), default=0)
    if depth == expected + 1 and len({parts[0] for parts, _ in split}) == 1:
        split = [(parts[1:], member) for parts, member in split if len(parts) > 1]
    paths = []
    for parts, member in split:
        folder, class_name, *rest = [*([""] if whole else []), *parts, "", ""]
        paths.append(_Path(member, folder, class_name, "/".join(rest).rstrip("/")))
    return paths


def _require_image(archive: Path, path: _Path) -> None:
    if "/" in path.rest or path.member.is_folder:
        raise UserError(f"{archive}: {shown(path.member.name)} is too deep; expected [split folder]/<class>/<file>")
    if _extension(path.rest) not in EXTENSIONS:
        raise UserError(f"{archive}: {shown(path.member.name)} is no {', '.join(EXTENSIONS)} file; remove it")


def _classes(
    archive: Path,
    named: list[str] | None,
    class_folders: dict[tuple[str, str], list[_File]],
    split_folders: dict[str, str],
) -> list[str]:
    """Return the class names by label, after checking that every split folder has images of each."""
    found = {class_name for _, class_name in class_folders}
    if not found:
        raise UserError(f"{archive}: has no class folders; expected [split folder]/<class>/<file>")
    classes = list(named) if named else sorted(found)
    for class_name in sorted(found - set(classes)):
        raise UserError(
            f"{archive}: class folder {shown(class_name)} is not in `classes`; {did_you_mean(class_name, classes)}"
        )
    for split_folder in split_folders:
        for class_name in classes:
            if not class_folders.get((split_folder, class_name)):
                folder = f"{split_folder}/{class_name}".lstrip("/")
                raise UserError(
                    f"{archive}: class folder {shown(folder)} is empty or missing; add images to it or remove the class"
                )
    return classes


def _decode_all(archive: Path, files: list[_File], height: int, width: int, mode: str) -> np.ndarray:
    channels = {mode: channels for channels, mode in _MODES.items()}[mode]
    rows = {file.member: row for row, file in enumerate(files)}
    samples = np.empty((len(files), height, width, channels), np.uint8)
    for member, content in progress(read_members(archive, rows), "decode images", len(rows), "image"):
        samples[rows[member]] = _decode(archive, member, content, (width, height), mode)
    return samples


def _decode(archive: Path, member: str, content: bytes, size: tuple[int, int], mode: str) -> np.ndarray:
    """Return one image uint8 [H, W, C]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _open(content, _extension(member)).convert(mode)
    except _BadImage as error:
        reason = str(error)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"has more than the {MAX_PIXELS:,} pixels allowed"
    except UnidentifiedImageError:
        reason = "is corrupt or no PNG, JPEG or BMP image"
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        reason = f"is corrupt ({error})"
    else:
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(size[1], size[0], -1)
    raise UserError(f"{archive}: image {shown(member)} {reason}; replace or remove it")


class _BadImage(Exception):
    """An image that Pillow reads but that cannot be a sample, and why."""


def _open(content: bytes, extension: str) -> Image.Image:
    """Return a whole image, upright."""
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "BMP"))
    if image.width * image.height > MAX_PIXELS:
        raise _BadImage(f"has {image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    if image.format == "PNG":
        Image.open(io.BytesIO(content), formats=("PNG",)).verify()  # compares checksums; load() does not
    if image.mode not in _EIGHT_BIT:
        raise _BadImage(f"has pixels of type {image.mode}, not 8 bits a channel")
    if image.format == "PNG" and content[PNG_DEPTH] == 16:  # Pillow drops the lower half of 16-bit RGB
        raise _BadImage("has 16 bits a channel, not 8")
    if image.format not in ("PNG", "BMP") and extension in ("png", "bmp"):
        raise _BadImage(f"is lossy {image.format} data under the name of a lossless file")
    return ImageOps.exif_transpose(image)


def _extension(member: str) -> str:
    return PurePosixPath(member).suffix[1:].lower()


def _natural(text: str) -> tuple:
    """Sort key that compares runs of digits as numbers, of any length."""
    runs = re.split(r"([0-9]+)", text)  # every second one is digits
    return tuple((len(run.lstrip("0")), run.lstrip("0")) if place % 2 else run for place, run in enumerate(runs))

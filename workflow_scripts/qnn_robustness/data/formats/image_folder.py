"""Archives of image files in class folders: `[split folder]/<class>/<file>`, as tar.gz or zip."""

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
from qnn_robustness.common.progress import progress
from qnn_robustness.data.archives import Member, list_members, read_members, shown
from qnn_robustness.data.formats import Pool, Source

EXTENSIONS = ("png", "jpg", "jpeg", "bmp")
MAX_PIXELS = 50_000_000
POOLS = ("train", "test")

_MODES = {1: "L", 3: "RGB"}
_EIGHT_BIT = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


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
    `image_shape` [H, W, 3 or 1] says, and resized (bilinear, antialiased) where their size differs. The classes
    are `classes` of the data set in that order, or the sorted names of the class folders. `split_folders` maps
    folders to `train` or `test`, other folders are ignored; without it the images form one pool `all`.

    Raises UserError for a missing split folder, an empty or unknown class folder, and a file that is no whole
    8-bit image of a known type.
    """
    height, width, mode = _target(dataset["image_shape"])
    split_folders = dataset.get("split_folders")
    folders, files = _layout(archive, list_members(archive), split_folders)
    classes = _classes(archive, dataset.get("classes"), folders, files)
    files.sort(key=lambda file: file.order)
    samples = _decode_all(archive, files, height, width, mode)
    pools = {}
    for pool in dict.fromkeys(split_folders.values()) if split_folders else ("all",):
        rows = np.array([row for row, file in enumerate(files) if file.pool == pool])
        labels = np.array([classes.index(files[row].class_name) for row in rows], dtype=np.int64)
        extensions = np.array([files[row].extension for row in rows], dtype=object)
        pools[pool] = Pool(samples[rows], labels, extensions)
    return Source(classes, pools)


def _target(shape: list[int]) -> tuple[int, int, str]:
    if len(shape) != 3 or shape[2] not in _MODES or min(shape) < 1:
        raise UserError(f"image_shape: {list(shape)} is not [height, width, 1 (grey) or 3 (RGB)]")
    return shape[0], shape[1], _MODES[shape[2]]


def _layout(
    archive: Path, members: list[Member], split_folders: dict[str, str] | None
) -> tuple[dict[str, set[str]], list[_File]]:
    """Return the class folders of each pool and the image files in them."""
    depth = 2 if split_folders else 1
    for folder, pool in (split_folders or {}).items():
        if pool not in POOLS:
            raise UserError(f"split_folders: '{folder}' maps to '{pool}'; {did_you_mean(pool, POOLS)}")
    paths = _without_wrapper(
        [(_parts(member), member) for member in members if not _is_clutter(member)], depth
    )
    top = {parts[0] for parts, member in paths if len(parts) > 1 or member.is_folder}
    for folder in split_folders or {}:
        if folder not in top:
            raise UserError(f"{archive}: has no split folder '{folder}'; {did_you_mean(folder, top)}")
    folders: dict[str, set[str]] = {}
    files = []
    for parts, member in paths:
        pool = split_folders.get(parts[0]) if split_folders else "all"
        if pool is None or len(parts) < depth + (not member.is_folder):
            continue
        if len(parts) > depth + (not member.is_folder):
            raise UserError(
                f"{archive}: member {shown(member.name)} is too deep; expected {_expected(depth)}"
            )
        folders.setdefault("/".join(parts[:depth]), set())
        if not member.is_folder:
            if _extension(member.name) not in EXTENSIONS:
                raise UserError(
                    f"{archive}: member {shown(member.name)} is no {', '.join(EXTENSIONS)} file; "
                    "pack the archive again without it"
                )
            folders["/".join(parts[:depth])].add(member.name)
            files.append(_File(member.name, pool, parts[depth - 1]))
    return folders, files


def _expected(depth: int) -> str:
    return "<split folder>/<class>/<file>" if depth == 2 else "<class>/<file>"


def _parts(member: Member) -> tuple[str, ...]:
    return tuple(member.name.split("/"))


def _is_clutter(member: Member) -> bool:
    """What file managers leave in archives."""
    parts = _parts(member)
    return any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX" or parts[-1] == "Thumbs.db"


def _without_wrapper(
    paths: list[tuple[tuple[str, ...], Member]], depth: int
) -> list[tuple[tuple[str, ...], Member]]:
    """Drop a folder that holds the whole archive, when the images lie one level deeper than expected."""
    files = [parts for parts, member in paths if not member.is_folder]
    if len({parts[0] for parts, _ in paths}) != 1 or max(map(len, files), default=0) != depth + 2:
        return paths
    return [(parts[1:], member) for parts, member in paths if len(parts) > 1]


def _classes(
    archive: Path, named: list[str] | None, folders: dict[str, set[str]], files: list[_File]
) -> list[str]:
    """Check the class folders of each split folder against each other and against the configuration."""
    if not files:
        raise UserError(f"{archive}: has no image in class folders; expected [split folder]/<class>/<file>")
    found = {folder.split("/")[-1] for folder in folders}
    classes = list(named) if named else sorted(found)
    for folder, members in sorted(folders.items()):
        name = folder.split("/")[-1]
        if name not in classes:
            raise UserError(
                f"{archive}: folder {shown(folder)} is not in `classes`; {did_you_mean(name, classes)}"
            )
        if not members:
            raise UserError(
                f"{archive}: the class folder {shown(folder)} is empty; add images or remove the class"
            )
    for pool in sorted({file.pool for file in files}):
        missing = set(classes) - {file.class_name for file in files if file.pool == pool}
        if missing:
            where = "" if pool == "all" else f" in the {pool} images"
            raise UserError(
                f"{archive}: class '{min(missing)}' has no image{where}; {did_you_mean(min(missing), found)}"
            )
    return classes


def _decode_all(archive: Path, files: list[_File], height: int, width: int, mode: str) -> np.ndarray:
    channels = len(mode) if mode == "RGB" else 1
    rows = {file.member: row for row, file in enumerate(files)}
    samples = np.empty((len(files), height, width, channels), np.uint8)
    for member, content in progress(read_members(archive, rows), "decode images", len(rows), "image"):
        samples[rows[member]] = _decode(archive, member, content, (width, height), mode)
    return samples


def _decode(archive: Path, member: str, content: bytes, size: tuple[int, int], mode: str) -> np.ndarray:
    """Return one image uint8 [H, W, C]."""
    image = _open(archive, member, content)
    if image.size != size:
        image = image.convert(mode).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image.convert(mode)).reshape(size[1], size[0], -1)


def _open(archive: Path, member: str, content: bytes) -> Image.Image:
    def refusal(reason: str) -> UserError:
        return UserError(
            f"{archive}: image {shown(member)} {reason}; replace it or pack the archive without it"
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "BMP"))
            if image.width * image.height > MAX_PIXELS:
                raise refusal(
                    f"has {image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} allowed"
                )
            if image.format == "PNG":
                Image.open(
                    io.BytesIO(content), formats=("PNG",)
                ).verify()  # compares checksums; load() does not
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise refusal(f"has more than the {MAX_PIXELS:,} pixels allowed") from error
    except UnidentifiedImageError as error:
        raise refusal("is corrupt or no PNG, JPEG or BMP image") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's decoders raise all of these
        raise refusal(f"is corrupt ({error})") from error
    if image.mode not in _EIGHT_BIT:
        raise refusal(f"has pixels of type {image.mode}, not 8 bits a channel")
    if image.format not in ("PNG", "BMP") and _extension(member) in ("png", "bmp"):
        raise refusal(f"is lossy {image.format} data under the name of a lossless file")
    return ImageOps.exif_transpose(image)


def _extension(member: str) -> str:
    return PurePosixPath(member).suffix[1:].lower()


def _natural(text: str) -> tuple:
    """Sort key that compares runs of digits as numbers, of any length."""
    runs = re.split(r"([0-9]+)", text)  # every second one is digits
    return tuple(
        (len(run.lstrip("0")), run.lstrip("0")) if place % 2 else run for place, run in enumerate(runs)
    )

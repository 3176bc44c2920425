"""Reading tar.gz and zip archives, and folders, that may be damaged or hostile, without extracting them."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import is_clutter

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 8 * 2**30

_BLOCK = 512
_REPLACE = "get the archive again from a source you trust"
_PACK_AGAIN = "pack the archive again without it"


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive: its normalized path (`a/b/c.png`) and its uncompressed bytes."""

    name: str
    size: int
    is_folder: bool


def shown(name: str) -> str:
    """Return a member's name fit for one line of a message: printable, quoted and not too long."""
    printable = name.encode("utf-8", "backslashreplace").decode()
    return repr(printable if len(printable) <= 120 else f"{printable[:80]}...{printable[-37:]}")


def list_members(archive: str | Path) -> list[Member]:
    """Return the files and folders of a tar.gz or zip archive, or of a folder, after checking every one of them.

    Raises UserError when the file is missing, unreadable, truncated, damaged or of another type, and when
    a member has an absolute or climbing path, is a link, a device or encrypted, appears twice, or is
    larger than the limits of this module.
    """
    archive = Path(archive)
    with _one_line_errors(archive):
        checked = _Checked(archive)
        for _ in _walk(archive, checked, wanted=None):
            pass
        return checked.members


def read_members(archive: str | Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted members in the order of the archive, checked as in `list_members`.

    Raises UserError as `list_members` does, and when a wanted member is missing.
    """
    archive = Path(archive)
    wanted = frozenset(wanted)
    with _one_line_errors(archive):
        checked = _Checked(archive)
        yield from _walk(archive, checked, wanted)
        missing = sorted(wanted - checked.files)
        if missing:
            raise UserError(f"{archive}: has no member {shown(missing[0])}; is it the right archive?")


class _Checked:
    """The members seen so far, each checked on its own and against those before it."""

    def __init__(self, archive: Path):
        self.archive = archive
        self.members: list[Member] = []
        self.files: set[str] = set()
        self._folders: set[str] = set()
        self._packed = not archive.is_dir()  # a folder is as large as it is, and its names are those of the disk
        self._total = 0

    def add(self, raw_name: str, size: int, is_folder: bool) -> Member | None:
        """Check and record a member; None for the root folder itself."""
        name = self._normalized(raw_name)
        if not name:
            return None
        if name in self.files or (name in self._folders and not is_folder):
            raise self.refusal(raw_name, "appears twice", "pack the archive again with unique names")
        if size < 0:
            raise self.refusal(raw_name, f"claims {size:,} bytes", _REPLACE)
        if size > MAX_MEMBER_BYTES:
            raise self.refusal(
                raw_name,
                f"would take {size:,} bytes unpacked, more than the {MAX_MEMBER_BYTES:,} allowed",
                _REPLACE,
            )
        self._total += size
        if self._packed and self._total > MAX_TOTAL_BYTES:
            raise self.refusal(
                raw_name,
                f"would take the unpacked archive above the {MAX_TOTAL_BYTES:,} bytes allowed",
                _REPLACE,
            )
        if len(self.members) >= MAX_MEMBERS:
            raise self.refusal(raw_name, f"is one more than the {MAX_MEMBERS:,} members allowed", _REPLACE)
        member = Member(name, size, is_folder)
        if not is_folder:
            self.files.add(name)
            self.members.append(member)
        elif name not in self._folders:
            self._folders.add(name)
            self.members.append(member)
        return member

    def refusal(self, name: str, reason: str, remedy: str) -> UserError:
        return UserError(f"{self.archive}: member {shown(name)} {reason}; {remedy}")

    def _normalized(self, name: str) -> str:
        if name.startswith("/") or (self._packed and name[1:2] == ":"):
            raise self.refusal(name, "has an absolute path", _REPLACE)
        if "\\" in name or "\0" in name:
            raise self.refusal(name, "has a backslash or a null character in its name", _PACK_AGAIN)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refusal(name, "climbs out of the archive with '..'", _REPLACE)
        return "/".join(parts)


def _walk(archive: Path, checked: _Checked, wanted: frozenset[str] | None) -> Iterator[tuple[str, bytes]]:
    """Check every member and yield the wanted ones."""
    if archive.is_dir():
        yield from _walk_folder(archive, checked, wanted or frozenset())
        return
    with archive.open("rb") as stream:
        start = stream.read(8)
    if start[:2] == b"\x1f\x8b":
        yield from _walk_tar(archive, checked, wanted or frozenset())
    elif start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _walk_zip(archive, checked, wanted or frozenset())
    else:
        found = f"it starts with {start!r}" if start else "it is empty"
        raise UserError(f"{archive}: is neither a tar.gz nor a zip archive ({found}); {_REPLACE}")


def _walk_folder(folder: Path, checked: _Checked, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_clutter(name):
            continue
        if path.is_symlink():
            raise checked.refusal(name, "is a link", "copy what it points to")
        if not path.is_dir() and not path.is_file():
            raise checked.refusal(name, "is a device or another special file", "remove it")
        member = checked.add(name, 0 if path.is_dir() else path.stat().st_size, path.is_dir())
        if member and member.name in wanted and not member.is_folder:
            yield member.name, path.read_bytes()


def _walk_tar(archive: Path, checked: _Checked, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with gzip.open(archive, "rb") as unpacked:
        stream = _Limited(unpacked, archive)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for info in tar:
                tar.members = []  # tarfile would keep every header
                _refuse_special_tar(info, checked)
                member = checked.add(info.name, info.size, info.isdir())
                if member and member.name in wanted and not member.is_folder:
                    yield member.name, _tar_content(tar, info)
        # tarfile takes a damaged header for the end of the archive
        if stream.last != bytes(_BLOCK):
            raise UserError(f"{archive}: is truncated or damaged (no end marker); {_REPLACE}")
        stream.drain()


def _tar_content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    with tar.extractfile(info) as stream:
        return stream.read()


def _refuse_special_tar(info: tarfile.TarInfo, checked: _Checked) -> None:
    if info.issym() or info.islnk():
        raise checked.refusal(info.name, "is a link", _PACK_AGAIN)
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or info.issparse():
        raise checked.refusal(info.name, "is a device or another special file", _PACK_AGAIN)


class _Limited:
    """The unpacked stream of a tar.gz with a bound on each read and on the whole.

    tarfile reads extended headers into memory whatever length they claim, and follows negative lengths back.
    """

    def __init__(self, stream: gzip.GzipFile, archive: Path):
        self._stream = stream
        self._archive = archive
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_MEMBER_BYTES + _BLOCK:
            raise UserError(f"{self._archive}: has a header that claims {size:,} bytes; {_REPLACE}")
        self._check(self._stream.tell() + size)
        self.last = self._stream.read(size)
        return self.last

    def seek(self, position: int) -> int:
        if position < self.tell():
            raise UserError(f"{self._archive}: has a header that points backwards; {_REPLACE}")
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def drain(self) -> None:
        """Read to the end, where gzip compares its checksum."""
        while self._stream.read(2**20):
            self._check(self._stream.tell())

    def _check(self, position: int) -> None:
        # headers and padding take at most a few blocks a member
        if position > MAX_TOTAL_BYTES + 4 * _BLOCK * MAX_MEMBERS:
            raise UserError(f"{self._archive}: unpacks to more than {MAX_TOTAL_BYTES:,} bytes; {_REPLACE}")


def _walk_zip(archive: Path, checked: _Checked, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            _refuse_special_zip(info, checked)
            member = checked.add(info.orig_filename, info.file_size, info.is_dir())
            if member and member.name in wanted and not member.is_folder:
                with packed.open(info) as stream:
                    yield member.name, stream.read(info.file_size)


def _refuse_special_zip(info: zipfile.ZipInfo, checked: _Checked) -> None:
    if not info.filename:
        raise checked.refusal(info.orig_filename, "has a backslash or a null character in its name", _PACK_AGAIN)
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if stat.S_ISLNK(mode):
        raise checked.refusal(info.filename, "is a link", _PACK_AGAIN)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise checked.refusal(info.filename, "is a device or another special file", _PACK_AGAIN)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bound at once
        raise checked.refusal(info.filename, "is neither stored nor deflated", _PACK_AGAIN)
    if info.flag_bits & 0x1:
        raise checked.refusal(info.filename, "is encrypted", "pack the archive again without a password")


@contextmanager
def _one_line_errors(archive: Path) -> Iterator[None]:
    """Turn what the standard library raises for bad archives into a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{archive}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive}: is truncated or damaged ({error}); {_REPLACE}") from error
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error}); pack it again as tar.gz or zip") from error
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror or error})") from error

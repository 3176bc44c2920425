"""Hostile and damaged archives end in one line; sound ones are read byte for byte."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from data_builder import tar_member, write_archive, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_robustness.common.errors import UserError
from qnn_robustness.data import archives
from qnn_robustness.data.archives import list_members, read_members

FILES = {"a/1.txt": b"one", "a/2.txt": b"", "b/c/3.txt": bytes(range(256)) * 20}
KINDS = ("archive.tar.gz", "archive.zip")


def refused(path, *words: str) -> str:
    """The message of a refusal, the same for listing and reading, which is one line with these words."""
    messages = []
    for action in (list_members, lambda path: list(read_members(path, ["a/1.txt"]))):
        with pytest.raises(UserError) as caught:
            action(path)
        messages.append(str(caught.value))
    message = messages[0]
    assert messages == [message, message]
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message
    return message


@pytest.mark.parametrize("name", KINDS)
def test_reads_what_was_packed(tmp_path, name):
    path = write_archive(tmp_path / name, {"./b/": b"", **FILES})
    members = {member.name: member for member in list_members(path)}
    assert members.pop("b").is_folder
    assert {name: member.size for name, member in members.items()} == {k: len(v) for k, v in FILES.items()}
    assert dict(read_members(path, FILES)) == FILES
    assert dict(read_members(path, ["b/c/3.txt"])) == {"b/c/3.txt": FILES["b/c/3.txt"]}
    assert [entry.name for entry in tmp_path.iterdir()] == [name]  # nothing was extracted


@pytest.mark.parametrize("name", KINDS)
def test_missing_member_is_named(tmp_path, name):
    path = write_archive(tmp_path / name, FILES)
    with pytest.raises(UserError, match=r"has no member 'a/4\.txt'"):
        list(read_members(path, ["a/1.txt", "a/4.txt"]))


def test_missing_unreadable_empty_and_other_files(tmp_path):
    refused(tmp_path / "none.tar.gz", "no such file")
    (tmp_path / "folder.zip").mkdir()
    assert list_members(tmp_path / "folder.zip") == []
    (tmp_path / "empty.zip").touch()
    refused(tmp_path / "empty.zip", "neither a tar.gz nor a zip", "empty")
    (tmp_path / "page.tar.gz").write_text("<html>Not found</html>")
    refused(tmp_path / "page.tar.gz", "neither a tar.gz nor a zip", "<html>")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up.txt", "climbs out"),
        ("a/../../up.txt", "climbs out"),
        ("/etc/passwd", "absolute path"),
        ("C:/windows.txt", "absolute path"),
        ("a\\..\\up.txt", "backslash"),
    ],
)
def test_path_traversal(tmp_path, kind, name, reason):
    refused(write_archive(tmp_path / kind, {**FILES, name: b"x"}), reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link"),
        ({"type": tarfile.LNKTYPE, "linkname": "a/1.txt"}, "is a link"),
        ({"type": tarfile.CHRTYPE}, "device"),
        ({"type": tarfile.BLKTYPE}, "device"),
        ({"type": tarfile.FIFOTYPE}, "device"),
        ({"type": tarfile.CONTTYPE}, "special file"),
    ],
)
def test_special_tar_members(tmp_path, fields, reason):
    path = write_tar(tmp_path / "x.tar.gz", [tar_member("a/1.txt"), tar_member("a/9.txt", **fields)])
    refused(path, "'a/9.txt'", reason)


def test_sparse_tar_member(tmp_path):
    fields = {"pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "5"}}
    path = write_tar(tmp_path / "x.tar.gz", [tar_member("a/9.txt", b"12345", **fields)])
    refused(path, "'a/9.txt'", "special file")


@pytest.mark.parametrize(("mode", "reason"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "special file")])
def test_special_zip_members(tmp_path, mode, reason):
    info = zipfile.ZipInfo("a/9.txt")
    info.external_attr = (mode | 0o644) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.zip", "'a/9.txt'", reason)


def test_encrypted_zip_member(tmp_path):
    path = write_archive(tmp_path / "x.zip", FILES)
    content = bytearray(path.read_bytes())
    flags = content.index(b"PK\x01\x02") + 8  # of the first entry of the central directory
    content[flags] |= 1
    path.write_bytes(content)
    refused(path, "'a/1.txt'", "encrypted")


@pytest.mark.parametrize("twin", ["a/1.txt", "./a//1.txt", "a/1.txt/"])
def test_duplicate_names(tmp_path, twin):
    kind = tarfile.DIRTYPE if twin.endswith("/") else tarfile.REGTYPE
    members = [tar_member("a/1.txt", b"one"), tar_member(twin, b"", type=kind)]
    refused(write_tar(tmp_path / "x.tar.gz", members), "appears twice")
    warned = pytest.warns(UserWarning, match="Duplicate name") if twin == "a/1.txt" else contextlib.nullcontext()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed, warned:
        packed.writestr("a/1.txt", b"one")
        packed.writestr(twin, b"")
    refused(tmp_path / "x.zip", "appears twice")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_under_the_name_of_a_folder(tmp_path, kind):
    refused(write_archive(tmp_path / kind, {"a/1.txt/": b"", "a/1.txt": b"one"}), "appears twice")


def test_a_null_character_does_not_hide_the_rest_of_a_zip_name(tmp_path):
    path = write_archive(tmp_path / "x.zip", {"a/1.txt#/../../up.txt": b"one"})
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    refused(path, "null character")


def test_a_zip_name_that_begins_with_a_null_character(tmp_path):
    path = write_archive(tmp_path / "x.zip", {"#a/1.txt": b"one"})
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    refused(path, "null character")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_that_unpack_without_bound(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as packed:
        packed.writestr("a/1.txt", b"one")
    refused(tmp_path / "x.zip", "'a/1.txt'", "is neither stored nor deflated")


def test_no_more_of_a_zip_member_is_unpacked_than_it_claims(tmp_path):
    bomb = zlib.compressobj(wbits=-15)
    packed = bomb.compress(bytes(2**26)) + bomb.flush()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.txt", packed)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = content.index(signature)
        struct.pack_into("<H", content, start + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", content, start + method + 6, zlib.crc32(bytes(10)))
        struct.pack_into("<I", content, start + method + 14, 10)
    (tmp_path / "x.zip").write_bytes(content)
    tracemalloc.start()
    assert dict(read_members(tmp_path / "x.zip", ["a/1.txt"])) == {"a/1.txt": bytes(10)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_tar_member_that_claims_too_much(tmp_path):
    """The header alone is refused: nothing of the 10 TB is unpacked."""
    info = tarfile.TarInfo("a/zeros.png")
    info.size = 10 * 2**40
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
    refused(path, "'a/zeros.png'", "10,995,116,277,760 bytes")


def test_zip_member_that_claims_too_much(tmp_path):
    path = write_archive(tmp_path / "x.zip", FILES)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 2**32 - 2)
    path.write_bytes(content)
    refused(path, "'a/1.txt'", "4,294,967,294 bytes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_MEMBERS", 2, "more than the 2 members"),
        ("MAX_TOTAL_BYTES", 5_000, "above the 5,000 bytes"),
        ("MAX_MEMBER_BYTES", 5_000, "would take 5,120 bytes unpacked, more than the 5,000"),
    ],
)
def test_limits(tmp_path, monkeypatch, kind, limit, value, reason):
    path = write_archive(tmp_path / kind, FILES)
    monkeypatch.setattr(archives, limit, value)
    refused(path, "'b/c/3.txt'", reason)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(("size", "reason"), [(2**40, "has a header that claims 1,099,511,627,776"), (-(2**20), "")])
def test_extended_tar_header_that_lies_about_its_length(tmp_path, kind, size, reason):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
    refused(path, reason)


def test_no_header_sends_the_reader_back_or_to_the_end(tmp_path):
    """Some versions of tarfile follow negative lengths: they reach the stream as these two calls."""
    with gzip.open(write_archive(tmp_path / "x.tar.gz", FILES)) as unpacked:
        stream = archives._Limited(unpacked, tmp_path / "x.tar.gz")
        stream.read(512)
        with pytest.raises(UserError, match="points backwards"):
            stream.seek(0)
        with pytest.raises(UserError, match="claims -512 bytes"):
            stream.read(-512)
        assert stream.tell() == 512


def test_negative_tar_member_is_no_endless_loop(tmp_path):
    header = tar_member("a/1.txt")[0].tobuf(tarfile.GNU_FORMAT)
    info = tarfile.TarInfo("a/2.txt")
    info.size = -2 * 512
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(header + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    refused(path, "'a/2.txt'", "claims -1,024 bytes")


def test_zeros_behind_the_end_marker_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 10_000)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_member("a/1.txt")[0].tobuf() + bytes(10**7)))
    refused(path, "unpacks to more than 10,000 bytes")


def test_a_folder_of_ones_own_is_as_large_as_it_is_and_may_hold_what_nobody_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 100)
    for name in ("1:cat/1.png", "1:cat/2.png", ".git/objects/1"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(80))
    (tmp_path / ".git" / "link").symlink_to("/etc/passwd")
    assert [member.name for member in list_members(tmp_path)] == ["1:cat", "1:cat/1.png", "1:cat/2.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_is_noticed(tmp_path, kind):
    content = write_archive(tmp_path / kind, FILES).read_bytes()
    path = tmp_path / f"cut-{kind}"
    for length in (*range(1, len(content) - 30, 53), *range(len(content) - 30, len(content))):
        path.write_bytes(content[:length])
        refused(path)


def test_tar_cut_between_members_before_compression(tmp_path):
    content = gzip.decompress(write_archive(tmp_path / "x.tar.gz", FILES).read_bytes())
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(gzip.compress(content[:1024]))  # the first member, whole
    refused(path, "truncated")


def test_damaged_header_in_the_middle_is_not_the_end(tmp_path):
    content = bytearray(gzip.decompress(write_archive(tmp_path / "x.tar.gz", FILES).read_bytes()))
    content[1024 + 148] ^= 0xFF  # checksum field of the second header
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    refused(path, "damaged")


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_content_is_noticed_when_read(tmp_path, kind):
    path = write_archive(tmp_path / kind, {"a/1.txt": b"one" * 100})
    content = bytearray(path.read_bytes())
    if kind.endswith("zip"):
        content[content.index(b"oneone")] ^= 1
    else:
        content[-8] ^= 1  # the checksum of gzip
    path.write_bytes(content)
    with pytest.raises(UserError, match="truncated or damaged"):
        list(read_members(path, ["a/1.txt"]))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_damage_gives_the_content_or_one_line(tmp_path_factory, data, kind):
    """Whatever bytes are changed, reading ends in a UserError or yields well-formed names."""
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    content = bytearray(write_archive(folder / kind, FILES).read_bytes())
    if kind.endswith("gz"):
        content = bytearray(gzip.decompress(bytes(content)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / kind).write_bytes(gzip.compress(bytes(content), 1) if kind.endswith("gz") else bytes(content))
    try:
        names = [member.name for member in list_members(folder / kind)]
        read = dict(read_members(folder / kind, [name for name in names if name in FILES]))
    except UserError:
        return  # anything else fails the test
    assert all(not name.startswith("/") and ".." not in name.split("/") for name in names)
    assert set(read) <= set(FILES)


def test_names_that_cannot_be_printed_make_a_printable_line(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(tar_member("../\udcff\n" + "x" * 300)[0])
    path = tmp_path / "x.tar.gz"
    path.write_bytes(stream.getvalue())
    assert len(refused(path, "climbs out").encode()) < len(str(path)) + 250

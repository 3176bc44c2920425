"""Downloads from mirrors and addresses: order, checksums, retries, and one line when nothing serves."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import types

import pooch.core
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.download import RETRIES, download
from qnn_robustness.data.mirrors import mirrors_from_environment

NAME = "data.tar.gz"
CONTENT = b"archive" * 1000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _quick_and_unmirrored(monkeypatch):
    monkeypatch.delenv("QNN_DATA_MIRROR", raising=False)
    monkeypatch.setattr(pooch.core, "time", types.SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def server():
    """A local server that answers each request with the next of `answers` (the last one for ever)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.requests.append(self.path)
            answer = served.answers[min(len(served.requests), len(served.answers)) - 1]
            status, body, length = answer
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = types.SimpleNamespace(
        url=f"http://127.0.0.1:{httpd.server_port}",
        answers=[],
        requests=[],
        good=(200, CONTENT, len(CONTENT)),
    )
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def target(tmp_path):
    """The destination, in a folder that must hold nothing else afterwards."""
    path = tmp_path / "downloads" / NAME
    yield path
    if path.parent.exists():
        assert {entry.name for entry in path.parent.iterdir()} <= {NAME}


def mirror(tmp_path, name: str, content: bytes | None = CONTENT) -> str:
    folder = tmp_path / name
    folder.mkdir()
    if content is not None:
        (folder / NAME).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_official_address(server, target, checksum):
    server.answers = [server.good]
    download(NAME, [f"{server.url}/official/{NAME}"], checksum, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == [f"/official/{NAME}"]


def test_mirrors_come_first_and_in_order(tmp_path, server, target, monkeypatch, capsys):
    server.answers = [server.good]
    monkeypatch.setenv("QNN_DATA_MIRROR", f"{tmp_path / 'gone'}:{mirror(tmp_path, 'empty', None)}")
    download(NAME, ["http://127.0.0.1:9/never"], SHA256, target, [f"{server.url}/mirror/"])
    assert target.read_bytes() == CONTENT
    assert server.requests == [f"/mirror/{NAME}"]
    printed = capsys.readouterr().out
    assert printed.index("gone") < printed.index("empty") < printed.index("/mirror/")


def test_mirror_with_a_wrong_checksum_is_reported_and_the_next_one_tried(tmp_path, target, capsys):
    wrong = mirror(tmp_path, "wrong", b"something else")
    download(NAME, [], SHA256, target, [wrong, mirror(tmp_path, "right")])
    assert target.read_bytes() == CONTENT
    assert f"{wrong}/{NAME} (wrong checksum" in capsys.readouterr().out


def test_a_mirrored_file_is_copied_not_linked(tmp_path, target):
    folder = mirror(tmp_path, "linked", None)
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    os.symlink(tmp_path / "elsewhere", f"{folder}/{NAME}")
    download(NAME, [], SHA256, target, [folder])
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").unlink()
    assert not target.is_symlink()
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fault",
    [
        (503, b"busy", 4),
        (200, CONTENT[:-1], len(CONTENT)),  # truncated, with a length
        (200, CONTENT[:-1], None),  # truncated, without one
        (200, b"<html>log in</html>", 19),
    ],
)
def test_faults_that_pass_are_retried(server, target, fault):
    server.answers = [fault] * RETRIES + [server.good]
    download(NAME, [f"{server.url}/{NAME}"], SHA256, target)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1 + RETRIES


@pytest.mark.parametrize(
    ("fault", "reason"),
    [((404, b"", 0), "HTTP status 404"), ((200, b"<html>log in</html>", 19), "wrong checksum")],
)
def test_faults_that_stay_end_in_one_line(tmp_path, server, target, fault, reason):
    server.answers = [fault]
    with pytest.raises(UserError) as caught:
        download(NAME, [f"{server.url}/{NAME}"], SHA256, target, [str(tmp_path / "gone")])
    message = str(caught.value)
    assert f"{tmp_path}/gone/{NAME} (no such file)" in message
    assert f"{server.url}/{NAME} ({reason}" in message
    assert "QNN_DATA_MIRROR" in message
    assert "\n" not in message
    assert not target.exists()
    assert len(server.requests) == 1 + RETRIES


def test_unreachable_addresses_and_unusable_mirrors(tmp_path, target):
    (tmp_path / "folder" / NAME).mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        download(NAME, ["http://127.0.0.1:9/x", "ftp://127.0.0.1/x"], SHA256, target, [str(tmp_path / "folder")])
    assert "http://127.0.0.1:9/x (unreachable)" in str(caught.value)
    assert "ftp://127.0.0.1/x (No connection adapters" in str(caught.value)
    assert f"{NAME} (is not a file)" in str(caught.value)


def test_a_mirrored_file_that_cannot_be_read(tmp_path, target, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "copyfile", refuse)  # root may read everything
    with pytest.raises(UserError, match=r"cannot be read: Permission denied"):
        download(NAME, [], SHA256, target, [mirror(tmp_path, "locked")])


def test_an_old_file_survives_a_failed_download(tmp_path, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(UserError):
        download(NAME, [], SHA256, target, [mirror(tmp_path, "wrong", b"x")])
    assert target.read_bytes() == b"old"


def test_leftovers_of_a_killed_download_go(server, target):
    folder = target.parent / f".partial-abc-{NAME}.download"
    folder.mkdir(parents=True)
    (folder / "tmpxyz").write_bytes(b"half")
    (target.parent / f".partial-1-{NAME}").write_bytes(b"half")
    server.answers = [server.good]
    download(NAME, [f"{server.url}/{NAME}"], SHA256, target)


def test_a_running_download_of_a_longer_name_stays(server, target):
    folder = target.parent / f".partial-abc-my-{NAME}.download"
    folder.mkdir(parents=True)
    server.answers = [server.good]
    download(NAME, [f"{server.url}/{NAME}"], SHA256, target)
    assert folder.is_dir()
    folder.rmdir()


def test_without_a_checksum_it_is_printed_for_pinning(server, target, capsys):
    server.answers = [server.good]
    download(NAME, [f"{server.url}/{NAME}"], None, target)
    assert target.read_bytes() == CONTENT
    assert SHA256 in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "a/b.zip", "..", "/etc/passwd"])
def test_archive_is_a_plain_name(target, name):
    with pytest.raises(UserError, match="not a plain file name"):
        download(name, [], SHA256, target)


@pytest.mark.parametrize("checksum", ["sha256:12", "crc:00000000", SHA256.upper(), SHA256[7:]])
def test_malformed_checksum(target, checksum):
    with pytest.raises(UserError, match="is not sha256: or md5:"):
        download(NAME, [], checksum, target)


def test_nowhere_to_look(target):
    with pytest.raises(UserError, match="no mirror and no address is known"):
        download(NAME, [], SHA256, target)


@pytest.mark.parametrize(
    ("value", "mirrors"),
    [
        ("", []),
        ("/a", ["/a"]),
        ("/a:/b", ["/a", "/b"]),
        ("/a, http://host:8000/c ,/b:/d", ["/a", "http://host:8000/c", "/b", "/d"]),
        ("https://host/x:y,,", ["https://host/x:y"]),
    ],
)
def test_the_variable_holds_folders_and_urls(monkeypatch, value, mirrors):
    monkeypatch.setenv("QNN_DATA_MIRROR", value)
    assert mirrors_from_environment() == mirrors


@pytest.mark.parametrize("place", ["mirror", "address"])
def test_full_disk_is_one_line(tmp_path, server, target, monkeypatch, place):
    """ENOSPC is reported as such, at once: no other place would help."""

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    server.answers = [server.good]
    if place == "mirror":
        monkeypatch.setattr(shutil, "copyfile", full)
    else:
        monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(UserError, match=rf"{NAME}: no space left on the disk; free some"):
        download(NAME, [f"{server.url}/x"], SHA256, target, [mirror(tmp_path, "m")] if place == "mirror" else [])
    assert server.requests == []


def test_a_disk_that_is_really_full(tmp_path):
    """The same on a file system of 32 kB, for a download and for an .npz, in a mount namespace of its own."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / NAME).write_bytes(os.urandom(200_000))
    script = textwrap.dedent(f"""
        import numpy as np, os
        from qnn_robustness.common.errors import UserError
        from qnn_robustness.common.files import write_arrays
        from qnn_robustness.data.download import download
        noise = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8)
        for act in (
            lambda: download({NAME!r}, [], None, "disk/{NAME}", ["mirror"]),
            lambda: write_arrays("disk/train.npz", samples=noise),
        ):
            try:
                act()
            except UserError as error:
                print("one line:", error, os.listdir("disk"))
    """)
    mount = "mount -t tmpfs -o size=32k none disk"
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=tmp_path, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a file system in a namespace of its own")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && "$0" -c "$1"', sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("one line:")]
    assert len(lines) == 2, run.stderr
    assert all("no space left on the disk" in line and line.endswith("[]") for line in lines)

"""Images: what the files are, and an upload that goes on where it stopped."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_fakes import FakeCoordinator

from hpgreedy.client.diskfile import detect_format, virtual_bytes
from hpgreedy.client.main import main
from hpgreedy.client.verbs.images import PIECE
from protocol.messages import Reply
from protocol.verbs import ImageUpload, ImageView, ImageWritten


def qcow2(size: int, version: int = 3, backing: int = 0, incompatible: int = 0) -> bytes:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size)
    return (head + b"\0" * 40 + struct.pack(">Q", incompatible)).ljust(512, b"\0")


class Store:
    """Keeps pieces as a coordinator does: in order, repeats ignored, gaps refused."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.manifest: dict[str, Any] = {}
        self.writes = 0
        self.fail_after: int | None = None

    def begin(self, args: dict[str, Any]) -> ImageUpload:
        self.manifest = args["manifest"]
        missing = [
            f["sha256"] for f in self.manifest["files"] if len(self.files.get(f["sha256"], b"")) < f["size"]
        ]
        return ImageUpload(missing=tuple(missing))

    def write(self, args: dict[str, Any]) -> ImageWritten | Reply:
        piece = base64.b64decode(args["data"])
        assert len(piece) <= PIECE
        have = self.files.setdefault(args["sha256"], bytearray())
        if args["offset"] + len(piece) <= len(have):
            return ImageWritten(size=len(have))
        if args["offset"] != len(have):
            return Reply(ok=False, code="bad_request", error=f"offset is not {len(have)}", field="offset")
        self.writes += 1
        if self.fail_after is not None and self.writes > self.fail_after:
            have += piece[:1000]
            return Reply(ok=False, code="failed", error="the disk is full")
        have += piece
        return ImageWritten(size=len(have))

    def finish(self, args: dict[str, Any]) -> ImageView | Reply:
        for file in self.manifest["files"]:
            if hashlib.sha256(self.files[file["sha256"]]).hexdigest() != file["sha256"]:
                return Reply(ok=False, code="failed", error="the checksum is wrong")
        files = tuple(self.manifest["files"])
        return ImageView(name=args["name"], files=files, cmdline="", virtual_size=None, state="ready")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def coordinator(tmp_path: Path, store: Store) -> Iterator[FakeCoordinator]:
    answers = {"image.begin": store.begin, "image.write": store.write, "image.finish": store.finish}
    with FakeCoordinator(answers) as fake:
        fake.write_access(tmp_path)
        yield fake


def add(tmp_path: Path, *words: object) -> int:
    return main(["image", "add", "img", *map(str, words), "--state", str(tmp_path)])


def test_a_disk_arrives_whole(
    tmp_path: Path, coordinator: FakeCoordinator, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk.img"
    content = qcow2(5 * 2**30 + 1) + bytes(range(256)) * 4096
    disk.write_bytes(content)
    assert add(tmp_path, "--disk", disk) == 0
    file = store.manifest["files"][0]
    assert (file["role"], file["format"], file["size"]) == ("disk", "qcow2", len(content))
    assert store.manifest["virtual_size"] == (5 * 1024 + 1) / 1024
    assert bytes(store.files[file["sha256"]]) == content
    assert store.writes == -(-len(content) // PIECE)
    out = capsys.readouterr().out
    assert "sending disk.img: 100%" in out
    assert "ready" in out


def test_kernel_and_initrd(
    tmp_path: Path, coordinator: FakeCoordinator, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "k").write_bytes(b"kernel")
    (tmp_path / "i").write_bytes(b"initrd")
    words = ("--kernel", tmp_path / "k", "--initrd", tmp_path / "i", "--cmdline", "console=ttyS0", "--json")
    assert add(tmp_path, *words) == 0
    assert [file["role"] for file in store.manifest["files"]] == ["kernel", "initrd"]
    assert store.manifest["cmdline"] == "console=ttyS0"
    assert "virtual_size" not in store.manifest
    assert json.loads(capsys.readouterr().out)["state"] == "ready"


def test_an_upload_goes_on_where_it_stopped(
    tmp_path: Path, coordinator: FakeCoordinator, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk.raw"
    content = hashlib.shake_128(b"x").digest(4 * PIECE + 17)
    disk.write_bytes(content)
    store.fail_after = 2
    assert add(tmp_path, "--disk", disk) == 1
    assert capsys.readouterr().err == "the disk is full\n"
    store.fail_after = None
    before = len(coordinator.requests("image.write"))
    assert add(tmp_path, "--disk", disk) == 0
    assert bytes(next(iter(store.files.values()))) == content
    assert coordinator.requests("image.write")[before]["data"] == ""
    assert coordinator.requests("image.write")[before + 1]["offset"] == 2 * PIECE + 3000
    writes = store.writes
    assert add(tmp_path, "--disk", disk) == 0
    assert store.writes == writes


def test_a_coordinator_that_takes_nothing_is_given_up(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.answers["image.write"] = ImageWritten(size=0)
    (tmp_path / "d").write_bytes(b"x" * 100)
    assert add(tmp_path, "--disk", tmp_path / "d") == 1
    assert "takes no more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "--disk FILE"),
        (["--initrd", "{d}"], "--kernel"),
        (["--disk", "{d}", "--cmdline", "x"], "--kernel"),
        (["--disk", "{d}", "--format", "vmdk"], "'vmdk'"),
        (["--kernel", "{d}", "--format", "raw"], "--disk"),
        (["--disk", "{d}", "--format", "qcow2"], "--format raw"),
        (["--disk", "{none}"], "No such file"),
        (["--disk", "{empty}"], "empty"),
        (["--kernel", "{d}", "--cmdline", "tab\there"], "cmdline"),
    ],
)
def test_bad_choices_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    (tmp_path / "d").write_bytes(b"x" * 100)
    (tmp_path / "empty").touch()
    names = {name: str(tmp_path / name) for name in ("d", "none", "empty")}
    assert main(["192.0.2.1", "image", "add", "img", *(word.format(**names) for word in words)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert part in err[0]


def test_headers_of_disks() -> None:
    assert detect_format(qcow2(1)) == "qcow2"
    assert detect_format(b"\xeb\x63\x90") == "raw"
    assert virtual_bytes(b"", 4096, "raw") == 4096
    assert virtual_bytes(qcow2(2**31, version=2), 512, "qcow2") == 2**31


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (qcow2(5, backing=512), "backing file"),
        (qcow2(5, incompatible=4), "another file"),
        (qcow2(5, version=9), "version 9"),
        (qcow2(0), "0 bytes"),
        (qcow2(5)[:30], "cut short"),
        (qcow2(5)[:80], "cut short"),
    ],
)
def test_disks_that_cannot_stand_alone(header: bytes, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        virtual_bytes(header, 512, "qcow2")

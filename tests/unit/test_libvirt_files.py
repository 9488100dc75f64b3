"""Images, headers, seeds, identity of storage: files that the libvirt driver reads and writes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pycdlib
import pytest

from agent.drivers.libvirt import errors, names, qcow2
from agent.drivers.libvirt.accelerator import boots_under_kvm, decide, host_kernel
from agent.drivers.libvirt.consoles import tail
from agent.drivers.libvirt.disks import Disks
from agent.drivers.libvirt.files import held_by_qemu, storage_id, takes_direct_io, write_durably
from agent.drivers.libvirt.images import CHUNK, LibvirtImages
from agent.drivers.libvirt.mounts import file_system, is_local
from agent.drivers.libvirt.seed import seed_files, seed_iso
from protocol.commands import CommandError
from protocol.messages import PoolFacts
from protocol.spec import CloudInit, ImageFile, ImageManifest

UUID = "0a0b0c0d-1111-4222-8333-444455556666"


def qcow2_bytes(
    *,
    size: int = 1 << 30,
    backing: bytes = b"",
    incompatible: int = 0,
    crypt: int = 0,
    data_file: bytes = b"",
) -> bytes:
    extension = struct.pack(">II", 0x44415441, len(data_file)) + data_file.ljust(
        -(-len(data_file) // 8) * 8, b"\0"
    )
    extensions = (extension if data_file else b"") + struct.pack(">II", 0, 0)
    at = 104 + len(extensions) if backing else 0
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", 3, at, len(backing), 16, size, crypt)
    head = head.ljust(72, b"\0") + struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    return (head + extensions + backing).ljust(4096, b"\0")


def test_a_header_says_its_size_and_nothing_else() -> None:
    header = qcow2.read_header(qcow2_bytes(size=5 << 30))
    assert header == qcow2.Qcow2Header(virtual_size=5 << 30)
    qcow2.refuse_foreign_files(header)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (qcow2_bytes(backing=b"/etc/shadow"), "backing file '/etc/shadow'"),
        (qcow2_bytes(backing=b"json:{}"), "backing file"),
        (qcow2_bytes(incompatible=4), "external file"),
        (qcow2_bytes(data_file=b"/etc/shadow"), "external file"),
        (qcow2_bytes(crypt=2), "encrypted"),
    ],
)
def test_an_image_that_reaches_for_other_files_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        qcow2.refuse_foreign_files(qcow2.read_header(content))


@pytest.mark.parametrize(
    "content", [b"", b"QFI\xfb", b"#!/bin/sh" * 20, qcow2_bytes()[:80], b"QFI\xfb" + b"\xff" * 200]
)
def test_what_is_no_qcow2_says_so(content: bytes) -> None:
    with pytest.raises(ValueError, match="qcow2"):
        qcow2.read_header(content)


def read_iso(content: bytes) -> dict[str, bytes]:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(content))
    found = {}
    for name in ("user-data", "meta-data", "network-config"):
        out = io.BytesIO()
        with contextlib.suppress(pycdlib.pycdlibexception.PyCdlibInvalidInput):
            iso.get_file_from_iso_fp(out, rr_path=f"/{name}")
            found[name] = out.getvalue()
    iso.close()
    return found


def test_the_seed_is_a_nocloud_iso() -> None:
    cloud_init = CloudInit(
        user="eva", ssh_keys=("ssh-ed25519 AAA ü🐧\x85",), network={"ethernets": {"eth0": {"dhcp4": True}}}
    )
    content = seed_iso(seed_files(UUID, "web", cloud_init))
    assert content[32808:32814] == b"cidata"
    files = read_iso(content)
    header, data = files["user-data"].split(b"\n", 1)
    assert header == b"#cloud-config"
    user = json.loads(data)["users"][0]
    assert (user["name"], user["ssh_authorized_keys"]) == ("eva", ["ssh-ed25519 AAA ü🐧\x85"])
    assert b"\\u0085" in data, "YAML does not take this character as it is"
    assert json.loads(files["meta-data"]) == {"instance-id": UUID, "local-hostname": "web"}
    assert json.loads(files["network-config"]) == {"version": 2, "ethernets": {"eth0": {"dhcp4": True}}}


def test_own_user_data_replaces_ours_whole_and_a_hostname_the_id() -> None:
    files = seed_files(UUID, "web", CloudInit(user_data="#!/bin/sh\n", hostname="other"))
    assert files["user-data"] == b"#!/bin/sh\n"
    assert json.loads(files["meta-data"])["local-hostname"] == "other"
    assert "network-config" not in files
    keys = seed_files(UUID, "web", CloudInit(ssh_keys=("k",)))["user-data"]
    assert json.loads(keys.split(b"\n", 1)[1])["ssh_authorized_keys"] == ["k"]


def test_the_same_seed_has_the_same_layout() -> None:
    one, two = (seed_iso(seed_files(UUID, "web", CloudInit(user="eva"))) for _ in range(2))
    assert len(one) == len(two)
    assert one.index(b"#cloud-config") == two.index(b"#cloud-config")


class Link:
    """Stands in for the connection: errors of files become sentences, there is no libvirt."""

    def __init__(self, domains: tuple[object, ...] = ()) -> None:
        self.domains = domains

    @contextlib.contextmanager
    def use(self, doing: str) -> Iterator[object]:
        try:
            yield self
        except OSError as error:
            raise errors.from_os(error, doing) from error

    def listAllDomains(self) -> tuple[object, ...]:  # noqa: N802 - libvirt's name
        return self.domains


class Pool:
    """Stands in for the storage pool."""

    def __init__(self, path: Path, available: int = 1 << 40) -> None:
        self.path = path
        self.available = available
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def facts(self) -> PoolFacts:
        return PoolFacts(name="p", path=str(self.path), storage_id="s", available=self.available)


def image_of(content: bytes, form: str = "raw") -> ImageManifest:
    digest = hashlib.sha256(content).hexdigest()
    return ImageManifest(
        name="i", files=(ImageFile(role="disk", size=len(content), sha256=digest, format=form),)
    )


def reader(content: bytes, asked: list[int] | None = None):
    def read(_image: str, _file: ImageFile, offset: int, length: int) -> bytes:
        if asked is not None:
            asked.append(offset)
        return content[offset : offset + length]

    return read


def test_an_image_is_fetched_once_and_whole(tmp_path: Path) -> None:
    content = os.urandom(CHUNK * 2 + 17)
    images, image, asked = LibvirtImages(Link(), Pool(tmp_path)), image_of(content), []
    threads = [threading.Thread(target=images.ensure, args=(image, reader(content, asked))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [0, CHUNK, 2 * CHUNK]
    (path,) = tmp_path.iterdir()
    assert path.name == image.files[0].volume_name("i")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        (b"y" * 100, "failed", "checksum"),
        (b"x" * 99, "failed", "broke off at byte 99 of 100"),
    ],
)
def test_a_damaged_image_leaves_nothing(tmp_path: Path, given: bytes, code: str, why: str) -> None:
    with pytest.raises(CommandError, match=why) as caught:
        LibvirtImages(Link(), Pool(tmp_path)).ensure(image_of(b"x" * 100), reader(given))
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_names_another_file_leaves_nothing(tmp_path: Path) -> None:
    content = qcow2_bytes(backing=b"/etc/shadow")
    with pytest.raises(CommandError, match="/etc/shadow") as caught:
        LibvirtImages(Link(), Pool(tmp_path)).ensure(image_of(content, "qcow2"), reader(content))
    assert caught.value.code == "refused"
    assert list(tmp_path.iterdir()) == []


def test_no_space_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="are free; nothing was fetched") as caught:
        LibvirtImages(Link(), Pool(tmp_path, available=1000)).ensure(image_of(b"x"), reader(b"x"))
    assert caught.value.code == "no_space"


def test_remains_of_a_dead_fetch_go_and_a_living_one_stays(tmp_path: Path) -> None:
    image = image_of(b"x")
    name = image.files[0].volume_name("i")
    dead, living = tmp_path / f".{name}.00000000.part", tmp_path / f".{name}.11111111.part"
    dead.write_bytes(b"")
    living.write_bytes(b"")
    os.utime(dead, (0, 0))
    LibvirtImages(Link(), Pool(tmp_path)).ensure(image, reader(b"x"))
    assert {path.name for path in tmp_path.iterdir()} == {name, living.name}


def test_an_image_is_kept_while_a_disk_or_a_domain_stands_on_it(tmp_path: Path) -> None:
    content = b"x"
    image = image_of(content)
    images = LibvirtImages(Link(), Pool(tmp_path))
    images.ensure(image, reader(content))
    path = tmp_path / image.files[0].volume_name("i")
    overlay = tmp_path / f"{UUID}-root.qcow2"
    overlay.write_bytes(qcow2_bytes(backing=str(path).encode()))
    with pytest.raises(CommandError, match=UUID) as caught:
        images.delete(image)
    assert caught.value.code == "busy"
    overlay.unlink()

    class Domain:
        def name(self) -> str:
            return "web"

        def XMLDesc(self) -> str:  # noqa: N802 - libvirt's name
            return f"<kernel>{path}</kernel>"

    with pytest.raises(CommandError, match="web stands on it"):
        LibvirtImages(Link((Domain(),)), Pool(tmp_path)).delete(image)
    assert path.exists()
    images.delete(image)
    images.delete(image)
    assert not path.exists()


def test_deleting_disks_takes_only_the_vms_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "CONSOLE_FOLDER", tmp_path / "logs")
    own = [f"{UUID}-root.qcow2", f"{UUID}-seed.iso", f"{UUID}-root.qcow2.0.part"]
    others = ["image-x.disk", f"x{UUID}-root.qcow2", f"{UUID[:-1]}7-root.qcow2", ".hpgreedy-storage"]
    for name in own + others:
        (tmp_path / name).write_bytes(b"")
    deleted = Disks(Link(), Pool(tmp_path)).delete(UUID)
    assert sorted(deleted) == sorted(str(tmp_path / name) for name in own)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    assert Disks(Link(), Pool(tmp_path)).delete(UUID) == ()


def test_a_disk_that_a_qemu_holds_is_not_deleted(tmp_path: Path) -> None:
    disk = tmp_path / f"{UUID}-root.qcow2"
    disk.write_bytes(b"\0" * 4096)
    assert not held_by_qemu(disk)
    assert not held_by_qemu(tmp_path / "nothing")
    code = (
        "import fcntl, os, struct, sys; fd = os.open(sys.argv[1], os.O_RDWR);"
        "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 201, 1, 0));"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(disk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert held_by_qemu(disk)
        with pytest.raises(CommandError, match="nothing was deleted") as caught:
            Disks(Link(), Pool(tmp_path)).delete(UUID)
        holder.communicate("")
    assert caught.value.code == "busy"
    assert disk.exists()


def test_all_who_look_at_one_folder_agree_on_its_identity(tmp_path: Path) -> None:
    seen: list[str] = []
    start = threading.Barrier(8)

    def look() -> None:
        start.wait()
        seen.append(storage_id(tmp_path))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [names.STORAGE_MARKER]
    uuid.UUID(seen[0])
    other = tmp_path / "other"
    other.mkdir()
    assert storage_id(other) != seen[0]
    (other / names.STORAGE_MARKER).write_text("rubbish")
    with pytest.raises(ValueError, match="rubbish"):
        storage_id(other)


def test_files_are_made_once_and_the_probe_leaves_nothing(tmp_path: Path) -> None:
    write_durably(tmp_path / "a", b"1", 0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "a", b"2")
    assert isinstance(takes_direct_io(tmp_path), bool)
    with pytest.raises(OSError, match="Not a directory"):
        takes_direct_io(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_end_of_a_console(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log, 10) is None
    log.write_bytes(b"begin \xff end")
    text = tail(log, 5)
    assert text is not None
    assert (text.text, text.total) == ("\ufffd end", 11)
    whole = tail(log, 1000)
    assert whole is not None
    assert whole.text == "begin \ufffd end"


MOUNTS = """21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:40 / /var/lib/hpgreedy/pool rw - nfs4 nas:/pool rw
23 21 0:41 / /var/lib/hpgreedy/my\\040pool rw - tmpfs tmpfs rw
24 21 0:42 / /srv rw - ext4 /dev/vdb rw
25 24 0:43 / /srv rw shared:2 - xfs /dev/vdc rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind", "local"),
    [
        ("/var/lib/hpgreedy/pool", "nfs4", False),
        ("/var/lib/hpgreedy/pool/deeper", "nfs4", False),
        ("/var/lib/hpgreedy/poolside", "ext4", True),
        ("/var/lib/hpgreedy/my pool", "tmpfs", True),
        ("/srv", "xfs", True),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str, local: bool) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert is_local(kind) is local


def test_an_unknown_file_system_is_not_taken_for_local() -> None:
    assert file_system(Path("/x"), "") == ""
    assert not is_local("")
    assert not is_local("fuse.sshfs")


def test_kvm_is_chosen_only_after_a_guest_booted_under_it(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    probes: list[str] = []

    def decide_with(problem: str, boot: str = "b1", wanted: str = "auto", kernel: Path | None = Path("/k")):
        def probe(emulator: str, _kernel: Path) -> str:
            probes.append(emulator)
            return problem

        return decide(
            wanted=wanted, emulator="/q", qemu_version="10", boot_id=boot, state=tmp_path / "state",
            kernel=kernel, device=device, probe=probe,
        )  # fmt: skip

    assert "there is no" in decide_with("").reason
    device.touch()
    assert "probe_kernel" in decide_with("", kernel=None).reason
    assert probes == []
    chosen = decide_with("it hung")
    assert (chosen.kind, "it hung" in chosen.reason) == ("qemu", True)
    assert decide_with("") == chosen, "what was found is remembered"
    assert probes == ["/q"]
    assert decide_with("", boot="b2").kind == "kvm"
    assert decide_with("it hung", boot="b2").kind == "kvm"
    assert probes == ["/q", "/q"]
    (tmp_path / "state" / "accelerator.json").write_text("{")
    assert decide_with("it hung", boot="b2").kind == "qemu"
    assert decide_with("", wanted="qemu").kind == "qemu"
    assert decide_with("it hung", wanted="kvm").kind == "kvm"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Linux version 6.1'", ""),
        ("echo 'Linux version 6.1'; exec sleep 60", ""),
        ("echo 'no KVM' >&2; exit 1", "exit code 1; no KVM"),
        ("exec sleep 60", "no output of the kernel within 1 seconds"),
    ],
)
def test_the_probe_looks_for_the_kernels_first_words(tmp_path: Path, script: str, why: str) -> None:
    emulator = tmp_path / "qemu"
    emulator.write_text(f"#!/bin/sh\n{script}\n")
    emulator.chmod(0o755)
    said = boots_under_kvm(str(emulator), Path("/k"), seconds=1)
    assert said.endswith(why)
    assert bool(said) == bool(why)
    assert "does not start" in boots_under_kvm(str(tmp_path / "nothing"), Path("/k"))


def test_the_newest_kernel_is_probed_unless_one_is_named(tmp_path: Path) -> None:
    assert host_kernel(None, tmp_path) is None
    for age, name in enumerate(("vmlinuz-2", "vmlinuz-1")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert host_kernel(None, tmp_path) == tmp_path / "vmlinuz-2"
    assert host_kernel(Path("/mine"), tmp_path) == Path("/mine")

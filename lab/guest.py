"""Build the test guest: the distribution's cloud kernel and a few scripts on busybox, no operating system.

It prints to ttyS0, each line beginning with `hpg-guest: `:
  `booted start_id=HEX ip=ADDRESS`, then `count=N` once a second; `seed hostname=NAME user=NAME` when a
  NoCloud seed (ISO 9660, label cidata) is attached; `disk last count=N` when /dev/vda holds the count of an
  earlier life; `memory BAD (…)` and `power button pressed` when that is so.
The distribution's cloud kernel has no AHCI driver, so a SATA CD-ROM (q35's default) stays invisible to it: a
  seed goes on bus virtio (as a read-only disk) or scsi (a CD-ROM on a virtio-scsi controller).
It answers HTTP on port 80: `/count` with {"count", "start_id", "nonce", "mem": "ok|BAD", "disk":
  "ok|BAD|none"}, and `/verify` with the same after checking the whole 16 MiB pattern at once.
Kernel arguments: `hpg.net=10.X` (address from the MAC, see lab.names.guest_ip; without it DHCP is asked),
  `hpg.dirty=MIB_PER_SECOND` and `hpg.area=MIB` (8; rewrite that much memory, and check it. With 96 MiB of
  memory there is room for about 9; give the guest more memory for a larger area).
"""

import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import cpio
from lab.commands import run
from lab.errors import LabError
from lab.locks import held
from lab.names import guest_ip
from lab.paths import cache_root

META_PACKAGE = "linux-image-cloud-amd64"
CMDLINE = "console=ttyS0 quiet panic=1 mitigations=off tsc=unstable"
DISK_BYTES = 16 * 1024 * 1024
_MODULES = (
    "virtio_pci", "virtio_net", "virtio_blk", "virtio_balloon", "virtio_console", "virtio-rng", "button",
    "evdev", "virtio_scsi", "sr_mod", "isofs",
)  # fmt: skip
_SCRIPTS = {"init": "guest_init.sh", "serve.sh": "guest_serve.sh", "udhcpc.sh": "guest_udhcpc.sh"}
_HELP = "nothing was changed; run `apt-get update` (a machine may never have done so) and try again"


@dataclass(frozen=True)
class Guest:
    """The files of the test guest; the disk is an image to copy, not to write to."""

    kernel: Path
    initrd: Path
    disk: Path
    cmdline: str

    def as_json(self) -> str:
        """Return the paths as JSON."""
        return json.dumps({key: str(value) for key, value in asdict(self).items()}, indent=1)


def build() -> Guest:
    """Return the test guest, built now if the cache lacks this kernel with this recipe."""
    _check_tools()
    package = kernel_package()
    folder = cache_root() / f"guest-{package.replace('linux-image-', '')}-{_recipe()}"
    if not folder.is_dir():
        with held(".guest", seconds=180):
            if not folder.is_dir():
                _build_into(folder, package)
    return Guest(folder / "vmlinuz", folder / "initrd", folder / "disk.qcow2", CMDLINE)


def kernel_package() -> str:
    """Return the package of the distribution's cloud kernel; one already in the cache will do offline."""
    try:
        output = run(["apt-cache", "depends", META_PACKAGE])
    except LabError as error:
        raise LabError(f"the package lists do not know {META_PACKAGE}: {error}; {_HELP}") from error
    found = re.search(r"Depends: (linux-image-\S+)", output)
    if found is None:
        raise LabError(f"{META_PACKAGE} names no kernel; {_HELP}")
    return found[1]


def module_dependencies(content: bytes) -> list[str]:
    """Return the modules that a module says it needs."""
    found = re.search(rb"\0depends=([^\0]*)\0", content)
    return [name for name in found[1].decode().split(",") if name] if found else []


def load_order(wanted: list[str], needs: dict[str, list[str]]) -> list[str]:
    """Return all modules to load, each after those that it needs."""
    order: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        for needed in needs.get(name, []):
            add(needed)
        order.append(name)

    for name in wanted:
        add(name)
    return order


def domain_xml(
    guest: Guest,
    name: str,
    net: str,
    mac: str,
    *,
    uuid: str | None = None,
    memory_mib: int = 96,
    vcpus: int = 1,
    disk: str | None = None,
    extra_cmdline: str = "",
) -> str:
    """Return libvirt XML for a hand-made guest on a lab's br0; disk is a qcow2 path inside the host."""
    guest_ip(mac, net)
    disk_xml = (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
        f"<source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
        if disk
        else ""
    )
    return f"""<domain type='qemu'>
 <name>{name}</name>{f"<uuid>{uuid}</uuid>" if uuid else ""}
 <memory unit='MiB'>{memory_mib}</memory><vcpu>{vcpus}</vcpu>
 <os><type arch='x86_64' machine='q35'>hvm</type>
 <kernel>{guest.kernel}</kernel><initrd>{guest.initrd}</initrd>
 <cmdline>{guest.cmdline} hpg.net={net} {extra_cmdline}</cmdline></os>
 <features><acpi/></features><cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
 <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
 <devices>{disk_xml}
  <interface type='bridge'><source bridge='br0'/><mac address='{mac}'/><model type='virtio'/></interface>
  <serial type='file'><source path='/var/log/libvirt/{name}.console'/><target port='0'/></serial>
  <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  <memballoon model='virtio'><stats period='2'/></memballoon>
 </devices>
</domain>
"""


def _check_tools() -> None:
    tools = {"apt-get": "apt", "dpkg-deb": "dpkg", "qemu-img": "qemu-utils", "busybox": "busybox-static"}
    missing = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}; nothing was changed; apt install them")
    busybox = Path(shutil.which("busybox") or "busybox")
    if _needs_loader(busybox.read_bytes()):
        raise LabError(f"{busybox} is not static; nothing was changed; apt install busybox-static")


def _needs_loader(program: bytes) -> bool:
    """Tell whether a 64-bit ELF program names an interpreter: there is none in the guest."""
    table = int.from_bytes(program[32:40], "little")
    size, count = (int.from_bytes(program[at : at + 2], "little") for at in (54, 56))
    starts = (table + index * size for index in range(count))
    return any(int.from_bytes(program[start : start + 4], "little") == 3 for start in starts)


def _recipe() -> str:
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for name in ("guest.py", "cpio.py", *_SCRIPTS.values()):
        digest.update((here / name).read_bytes())
    digest.update(Path(shutil.which("busybox") or "busybox").read_bytes())
    return digest.hexdigest()[:12]


def _build_into(folder: Path, package: str) -> None:
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_root(), prefix="build-") as name:
        work = Path(name)
        tree = _unpack(work, package)
        made = work / "made"
        made.mkdir()
        kernel = next((tree / "boot").glob("vmlinuz-*"))
        shutil.copy(kernel, made / "vmlinuz")
        (made / "initrd").write_bytes(cpio.archive(_initramfs(tree)))
        run(["qemu-img", "create", "-q", "-f", "qcow2", str(made / "disk.qcow2"), str(DISK_BYTES)])
        made.rename(folder)


def _unpack(work: Path, package: str) -> Path:
    try:
        subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package],
            cwd=work,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(error.stderr or error).strip()
        raise LabError(f"{package} could not be downloaded: {reason}; {_HELP}") from error
    run(["dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work / "tree")], seconds=120)
    return work / "tree"


def _initramfs(tree: Path) -> list[cpio.Entry]:
    files = {}
    # Since merged /usr, the modules may lie below usr/.
    for path in (*tree.glob("lib/modules/**/*.ko*"), *tree.glob("usr/lib/modules/**/*.ko*")):
        files[path.name.split(".ko")[0].replace("-", "_")] = path
    contents: dict[str, bytes] = {}

    def content(name: str) -> bytes:
        if name not in contents:
            raw = files[name].read_bytes()
            contents[name] = lzma.decompress(raw) if files[name].suffix == ".xz" else raw
        return contents[name]

    needs: dict[str, list[str]] = {}
    pending = [name.replace("-", "_") for name in _MODULES if name.replace("-", "_") in files]
    wanted = list(pending)
    while pending:
        name = pending.pop()
        if name not in needs:
            needs[name] = [need.replace("-", "_") for need in module_dependencies(content(name))]
            pending += [need for need in needs[name] if need in files]
    order = [name for name in load_order(wanted, needs) if name in files]
    here = Path(__file__).parent
    entries = [cpio.folder(path) for path in ("bin", "dev", "modules")]
    entries += [cpio.console(), cpio.file("modules.order", "".join(f"{n}.ko\n" for n in order).encode())]
    entries += [cpio.file(f"modules/{name}.ko", content(name)) for name in order]
    busybox = Path(shutil.which("busybox") or "busybox").read_bytes()
    entries.append(cpio.file("bin/busybox", busybox, executable=True))
    for target, source in _SCRIPTS.items():
        entries.append(cpio.file(target, (here / source).read_bytes(), executable=True))
    return entries

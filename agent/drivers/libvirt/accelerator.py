"""KVM or software emulation: KVM only when a guest has really booted under it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from protocol.messages import Accelerator

KVM_DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 20.0
_SIGN_OF_LIFE = b"Linux version"
_CACHE = "accelerator.json"

Probe = Callable[[str, Path], str]
"""(emulator, kernel) → empty when the kernel booted under KVM, else what went wrong."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A remembered probe; `key` = what it holds for."""

    key: str
    kind: Literal["kvm", "qemu"]
    reason: str


def decide(
    *,
    wanted: str,
    emulator: str,
    qemu_version: str,
    boot_id: str,
    state: Path,
    kernel: Path | None,
    device: Path = KVM_DEVICE,
    probe: Probe | None = None,
) -> Accelerator:
    """How guests are to run here. `wanted` is auto, kvm or qemu; a probe's result is kept in `state`.

    A device file alone proves nothing: without virtualization in the CPU a guest hangs under KVM.
    """
    if wanted == "kvm":
        return Accelerator(kind="kvm", reason="the agent was told to use KVM")
    if wanted == "qemu":
        return Accelerator(kind="qemu", reason="the agent was told to use software emulation")
    if not device.exists():
        return Accelerator(kind="qemu", reason=f"software emulation, since there is no {device}")
    if kernel is None:
        return Accelerator(
            kind="qemu",
            reason=f"software emulation, since there is {device} and no kernel to try it with; name one "
            "with probe_kernel, or set the accelerator to kvm",
        )
    key = f"{boot_id} {emulator} {qemu_version}"
    known = _remembered(state / _CACHE, key)
    if known is None:
        problem = (probe or boots_under_kvm)(emulator, kernel)
        known = Verdict(
            key=key,
            kind="qemu" if problem else "kvm",
            reason=f"software emulation, since a test guest did not boot under KVM: {problem}"
            if problem
            else "a test guest booted under KVM",
        )
        _remember(state / _CACHE, known)
    return Accelerator(kind=known.kind, reason=known.reason)


def host_kernel(configured: Path | None, folder: Path = Path("/boot")) -> Path | None:
    """The kernel for the probe: the configured one, else the newest in /boot that can be read."""
    if configured is not None:
        return configured
    found = [path for path in folder.glob("vmlinuz*") if path.is_file() and os.access(path, os.R_OK)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def boot_id() -> str:
    """What changes when the machine starts."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def boots_under_kvm(emulator: str, kernel: Path, seconds: float = PROBE_SECONDS) -> str:
    """Boot the kernel under KVM until it speaks; returns what went wrong, empty when nothing did."""
    command = [
        emulator, "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "128", "-nodefaults",
        "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-monitor", "none",
        "-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            return f"{emulator} does not start: {error.strerror}"
        try:
            output, _ = process.communicate(timeout=seconds)
            ended = f"QEMU ended with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            ended = f"no output of the kernel within {seconds:g} seconds"
        if _SIGN_OF_LIFE in output:
            return ""
        errors.seek(0)
        said = errors.read(500).decode("utf-8", errors="replace").strip()
    return f"{ended}; {said}" if said else ended


def _remembered(path: Path, key: str) -> Verdict | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
        return verdict if verdict.key == key else None
    return None


def _remember(path: Path, verdict: Verdict) -> None:
    # Without it the next start only probes again.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(verdict))
        partial.replace(path)

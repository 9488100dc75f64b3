"""From libvirt's errors to the sentences and stable codes of a command; pure.

The numbers are libvirt's ABI and written out here, so that this module works without libvirt.
"""

from __future__ import annotations

import errno

from protocol.commands import CommandError, ErrorCode

NO_DOMAIN, OPERATION_ABORTED, MIGRATE_UNSAFE, OPERATION_UNSUPPORTED = 42, 78, 81, 84
NO_POOL, INVALID_OPERATION = 49, 55
# INTERNAL_ERROR, NO_SUPPORT, CONFIG_UNSUPPORTED, CPU_INCOMPATIBLE: a baseline of a model that cannot be had.
NO_SUCH_CPU = (1, 3, 67, 91)

_CODES: dict[int, ErrorCode] = {
    3: "unsupported",  # NO_SUPPORT
    INVALID_OPERATION: "refused",
    NO_DOMAIN: "not_found",
    67: "unsupported",  # CONFIG_UNSUPPORTED
    68: "busy",  # OPERATION_TIMEOUT: another job holds the domain
    74: "unsupported",  # ARGUMENT_UNSUPPORTED
    OPERATION_ABORTED: "aborted",
    MIGRATE_UNSAFE: "refused",
    OPERATION_UNSUPPORTED: "unsupported",
    87: "busy",  # RESOURCE_BUSY
}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def hypervisor_down(uri: str, why: str) -> CommandError:
    """The error of a libvirt that does not answer."""
    return CommandError(
        "hypervisor_down",
        f"libvirt at {uri} cannot be reached: {why}; running VMs go on, nothing can be told to them until "
        "libvirtd answers again",
    )


def from_libvirt(code: int | None, text: str, doing: str) -> CommandError:
    """The error of a libvirt that said no while `doing` something (such as ``starting VM x``)."""
    sentence = f"{doing} failed: {text.strip().rstrip('.')}"
    if "No space left on device" in text:
        return CommandError("no_space", sentence)
    return CommandError(_CODES.get(code or 0, "failed"), sentence)


def from_os(error: OSError, doing: str) -> CommandError:
    """The error of a file that could not be read or written."""
    code: ErrorCode = "no_space" if error.errno in _NO_SPACE else "failed"
    where = f" ({error.filename})" if error.filename else ""
    return CommandError(code, f"{doing} failed: {error.strerror or error}{where}")

"""libvirt's error codes → our five words.

Source: https://libvirt.org/html/libvirt-virterror.html#virErrorNumber
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from vms.hypervisor.errors import Busy, HypervisorError, Missing, NoSlot, Refused, StorageFull, Unreachable, Unsupported

AGENT_COMMAND_TIMEOUT, AGENT_COMMAND_FAILED = 112, 113
"""Codes of libvirt 11.2, which bindings built against an older one do not name."""

MISSING = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_NWFILTER,
    }
)
_BUSY = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
        libvirt.VIR_ERR_RESOURCE_BUSY,
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        AGENT_COMMAND_TIMEOUT,
    }
)
_UNSUPPORTED = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    }
)
_UNREACHABLE = frozenset(
    {
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_GNUTLS_ERROR,
        libvirt.VIR_ERR_LIBSSH,
    }
)
_LINE_BROKE = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FEATURES = (
    (
        "bandwidth",
        re.compile(r"\btc (qdisc|filter|class)\b|/tc\b.*\b(qdisc|filter|class)\b|sch_|act_police", re.IGNORECASE),
    ),
    ("nwfilter", re.compile(r"ebtables|nwfilter", re.IGNORECASE)),
    ("memtune", re.compile(r"memory\.(limit|max|soft|high)|memory cgroup|'memory' controller", re.IGNORECASE)),
    ("cputune", re.compile(r"cpu\.(cfs|max|shares|weight)|CPU tuning|cgroup CPU|'cpu' controller", re.IGNORECASE)),
)


@contextmanager
def translated(what: str = "") -> Iterator[None]:
    """Turn every ``libvirtError`` of the block into one of ours; ``what`` says in the detail what was being done."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, what) from error


def translate(error: libvirt.libvirtError, what: str = "") -> HypervisorError:
    """The word for ``error``; its text goes into ``detail``, for operators only."""
    code, text = error.get_error_code(), error.get_error_message() or str(error)
    detail = f"{what}: {text} [{code}]" if what else f"{text} [{code}]"
    if code in MISSING:
        return Missing(detail)
    if code in _UNREACHABLE or error.get_error_domain() in _LINE_BROKE:
        return Unreachable(detail)
    if code == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() in _FULL:
        return StorageFull(detail)
    feature = next((name for name, pattern in _FEATURES if pattern.search(text)), "")
    if feature:
        return Unsupported(detail, feature=feature)
    if "No more available PCI slots" in text:
        return NoSlot(detail)
    if code in _BUSY:
        return Busy(detail)
    if code in _UNSUPPORTED:
        return Unsupported(detail)
    return Refused(detail)


def is_missing(error: libvirt.libvirtError) -> bool:
    return error.get_error_code() in MISSING

"""The last look at a domain before libvirt sees it: every element, attribute and value must be one we foresaw.

The builders cannot write anything else; this is the second lock, which also holds when a builder or a spec is wrong.
It knows no policy: what stands here is what may be said, not what should be.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lxml import etree

from vms.hypervisor.driver import Roots
from vms.hypervisor.paths import is_below
from vms.hypervisor.xml.build import Element, UnsafeText, safe_text
from vms.hypervisor.xml.devices import INTEGRATION
from vms.hypervisor.xml.metadata import NAMESPACE

MAX_BYTES = 64 * 1024
"""Longest definition handed to libvirt, whose parser has had trouble with large ones (CVE-2025-12748)."""

type Check = Callable[[str, Roots], bool]


class NotAllowed(UnsafeText):
    """The definition holds something nobody foresaw; the message names the place, never the value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one element may hold; ``many`` lets it stand more than once beside its like.

    ``otherwise`` is what holds instead for values of its attribute ``type``.
    """

    attributes: Mapping[str, Check] = field(default_factory=dict)
    children: Mapping[str, Rule] = field(default_factory=dict)
    text: Check | None = None
    many: bool = False
    otherwise: Mapping[str, Rule] = field(default_factory=dict)


def check_domain(root: Element, *, roots: Roots) -> None:
    """Raise ``NotAllowed``, a ``ValueError``, unless ``root`` is a domain as we write it, files below ``roots``."""
    if root.tag != "domain":
        raise NotAllowed("not a domain")
    if len(etree.tostring(root, encoding="utf-8")) > MAX_BYTES:
        raise NotAllowed(f"the definition is longer than {MAX_BYTES} bytes")
    _check(root, DOMAIN, roots, "domain")


def check_disk(root: Element, *, roots: Roots) -> None:
    """Raise ``NotAllowed`` unless ``root`` is one disk as we write it, its files below ``roots``."""
    if root.tag != "disk":
        raise NotAllowed("not a disk")
    _check(root, _DISK, roots, "disk")


def check_interface(root: Element) -> None:
    """Raise ``NotAllowed`` unless ``root`` is one network card as we write it."""
    if root.tag != "interface":
        raise NotAllowed("not an interface")
    _check(root, _INTERFACE, Roots(storage=(), run=(), log=()), "interface")


def _check(element: Element, rule: Rule, roots: Roots, where: str) -> None:
    rule = rule.otherwise.get(element.get("type", ""), rule)
    for name, value in element.attrib.items():
        key, text = str(name), str(value)
        check = rule.attributes.get(key)
        if check is None:
            raise NotAllowed(f"{where}: unforeseen attribute")
        safe_text(text, where=f"{where}/@{key}")
        if not check(text, roots):
            raise NotAllowed(f"{where}/@{key}: unforeseen value")
    _check_text(element, rule, roots, where)
    count = Counter(child.tag for child in element)
    for child in element:
        inner = rule.children.get(str(child.tag))  # a comment has a function there, which no rule knows
        if inner is None:
            raise NotAllowed(f"{where}: unforeseen element")
        if count[child.tag] > 1 and not inner.many:
            raise NotAllowed(f"{where}/{child.tag}: more than once")
        if child.tail and child.tail.strip():
            raise NotAllowed(f"{where}: stray text")
        _check(child, inner, roots, f"{where}/{child.tag}")


def _check_text(element: Element, rule: Rule, roots: Roots, where: str) -> None:
    text = element.text or ""
    if rule.text is None:
        if text.strip():
            raise NotAllowed(f"{where}: stray text")
        return
    safe_text(text, where=where)
    if not rule.text(text, roots):
        raise NotAllowed(f"{where}: unforeseen value")


# --- kinds of values --------------------------------------------------------------------------------------------


def _like(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value, _roots: compiled.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value, _roots: value in words


def _number(low: int, high: int) -> Check:
    return lambda value, _roots: re.fullmatch(r"-?\d{1,18}", value) is not None and low <= int(value) <= high


def _short(length: int) -> Check:
    return lambda value, _roots: len(value) <= length


def _in_ceph(value: str, roots: Roots) -> bool:
    """An image of one of our pools, named as we name volumes."""
    pool, _slash, image = value.partition("/")
    return pool in roots.ceph and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", image, re.ASCII) is not None


def _below(kind: Literal["storage", "run", "log", "block"]) -> Check:
    return lambda value, roots: is_below(value, getattr(roots, kind))


_YES_NO = _one_of("yes", "no")
_NAME = _like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
# The schema wants a filter's name to be an NCName, which begins with no digit.
_FILTER = _like(r"[A-Za-z_][A-Za-z0-9._-]{0,95}")
_ID = _like(r"[A-Za-z0-9._-]{0,95}")
_UUID = _like(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAC = _like(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_IPV4 = _like(r"\d{1,3}(\.\d{1,3}){3}")
_FORMAT = _one_of("qcow2", "raw")
_COUNT = _number(0, 10**15)
_POSITIVE = _number(1, 10**15)
_EMPTY = Rule()


def _word(*words: str) -> Rule:
    return Rule(text=_one_of(*words))


# --- the shape of a domain --------------------------------------------------------------------------------------

_SOURCE = Rule({"file": _below("storage")})
_BACKING_LEVELS = 8


def _backing(levels: int) -> Rule:
    inner = {"backingStore": _backing(levels - 1)} if levels else {}
    return Rule({"type": _one_of("file")}, {"format": Rule({"type": _FORMAT}), "source": _SOURCE, **inner})


_DISK_PARTS: Mapping[str, Rule] = {
    "driver": Rule(
        {
            "name": _one_of("qemu"),
            "type": _FORMAT,
            "cache": _one_of("none", "writeback", "directsync", "unsafe"),
            "discard": _one_of("unmap"),
        }
    ),
    "target": Rule({"dev": _like(r"(vd|sd|hd)[a-z]{1,2}"), "bus": _one_of("virtio", "scsi", "sata", "ide")}),
    "iotune": Rule({}, {"total_bytes_sec": Rule(text=_POSITIVE), "total_iops_sec": Rule(text=_POSITIVE)}),
    "readonly": _EMPTY,
    "serial": Rule(text=_like(r"[A-Za-z0-9_-]{1,20}")),
    "boot": Rule({"order": _number(1, 64)}),
}

_BLOCK_DISK = Rule(
    {"type": _one_of("block"), "device": _one_of("disk")},
    {**_DISK_PARTS, "source": Rule({"dev": _below("block")}), "backingStore": _EMPTY},
)

_CEPH_DISK = Rule(
    {"type": _one_of("network"), "device": _one_of("disk")},
    {
        **_DISK_PARTS,
        "auth": Rule({"username": _ID}, {"secret": Rule({"type": _one_of("ceph"), "uuid": _UUID})}),
        "source": Rule(
            {"protocol": _one_of("rbd"), "name": _in_ceph},
            {"host": Rule({"name": _like(r"[A-Za-z0-9.:-]{1,253}")}, many=True)},
        ),
        "backingStore": _EMPTY,
    },
)

_DISK = Rule(
    {"type": _one_of("file"), "device": _one_of("disk", "cdrom")},
    {**_DISK_PARTS, "source": _SOURCE, "backingStore": _backing(_BACKING_LEVELS)},
    many=True,
    otherwise={"block": _BLOCK_DISK, "network": _CEPH_DISK},
)

_RATE = Rule({"average": _number(1, 2**31 - 1)})

_CARD_PARTS: Mapping[str, Rule] = {
    "mac": Rule({"address": _MAC}),
    "model": Rule({"type": _one_of("virtio", "e1000", "e1000e")}),
    "mtu": Rule({"size": _number(576, 65535)}),
    "bandwidth": Rule({}, {"inbound": _RATE, "outbound": _RATE}),
    "link": Rule({"state": _one_of("up", "down")}),
}

_OFFLOADS = dict.fromkeys(("csum", "gso", "tso4", "tso6", "ecn", "ufo", "mrg_rxbuf"), _one_of("off"))

_SWITCHED_CARD = Rule(
    {"type": _one_of("bridge")},
    {
        **_CARD_PARTS,
        "source": Rule({"bridge": _one_of(INTEGRATION)}),
        "virtualport": Rule({"type": _one_of("openvswitch")}, {"parameters": Rule({"interfaceid": _UUID})}),
        "driver": Rule({}, {"host": Rule(_OFFLOADS), "guest": Rule(_OFFLOADS)}),
    },
)

_INTERFACE = Rule(
    {"type": _one_of("network")},
    {
        **_CARD_PARTS,
        "source": Rule({"network": _NAME}),
        "filterref": Rule({"filter": _FILTER}, {"parameter": Rule({"name": _one_of("IP"), "value": _IPV4})}),
    },
    many=True,
    otherwise={"bridge": _SWITCHED_CARD},
)

_CONTROLLER = Rule(
    {
        "type": _one_of("scsi", "pci"),
        "index": _number(0, 0),
        "model": _one_of("virtio-scsi", "pcie-root", "pcie-root-port"),
    },
    many=True,
)

_SERIAL = Rule(
    {"type": _one_of("unix")},
    {
        "source": Rule({"mode": _one_of("bind"), "path": _below("run")}),
        "log": Rule({"file": _below("log"), "append": _one_of("on")}),
        "target": Rule({"type": _one_of("isa-serial"), "port": _number(0, 0)}),
    },
)

_GRAPHICS = Rule(
    {"type": _one_of("vnc"), "passwd": _like(r"[A-Za-z0-9]{1,8}"), "sharePolicy": _one_of("ignore")},
    {"listen": Rule({"type": _one_of("socket"), "socket": _below("run")})},
)

_DEVICES = Rule(
    {},
    {
        "disk": _DISK,
        "controller": _CONTROLLER,
        "interface": _INTERFACE,
        "serial": _SERIAL,
        "channel": Rule(
            {"type": _one_of("unix")},
            {"target": Rule({"type": _one_of("virtio"), "name": _one_of("org.qemu.guest_agent.0")})},
        ),
        "input": Rule({"type": _one_of("tablet"), "bus": _one_of("usb", "virtio")}),
        "graphics": _GRAPHICS,
        "video": Rule(
            {}, {"model": Rule({"type": _one_of("vga", "virtio", "none"), "vram": _number(1024, 1024 * 1024)})}
        ),
        "watchdog": Rule(
            {"model": _one_of("i6300esb", "itco"), "action": _one_of("reset", "poweroff", "pause")},
        ),
        "rng": Rule(
            {"model": _one_of("virtio")},
            {
                "rate": Rule({"period": _POSITIVE, "bytes": _POSITIVE}),
                "backend": Rule({"model": _one_of("random")}, text=_one_of("/dev/urandom")),
            },
        ),
        "memballoon": Rule({"model": _one_of("virtio")}, {"stats": Rule({"period": _number(1, 3600)})}),
        "tpm": Rule(
            {"model": _one_of("tpm-tis", "tpm-crb")},
            {"backend": Rule({"type": _one_of("emulator"), "version": _one_of("2.0")})},
        ),
        "panic": Rule({"model": _one_of("isa")}),
    },
)

_MIB = Rule({"unit": _one_of("MiB")}, text=_number(1, 64 * 1024 * 1024))

_OWNER = Rule(
    {"installation": _NAME, "epoch": _COUNT, "subject": _ID, "tenant": _ID, "generation": _COUNT},
)

_ON = Rule({"state": _one_of("on")})

_HYPERV = Rule(
    {"mode": _one_of("custom")},
    {
        **dict.fromkeys(
            ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies", "tlbflush", "ipi"), _ON
        ),
        "spinlocks": Rule({"state": _one_of("on"), "retries": _number(4095, 2**31 - 1)}),
    },
)

_FEATURES = Rule(
    {},
    {
        "acpi": _EMPTY,
        "apic": _EMPTY,
        "hyperv": _HYPERV,
        "smm": _ON,
        "vmport": Rule({"state": _one_of("off")}),
        "tcg": Rule({}, {"tb-cache": _MIB}),
    },
)

_CELL = Rule(
    {
        "id": _number(0, 0),
        "cpus": _like(r"0(-\d{1,4})?"),
        "memory": _number(1, 64 * 1024 * 1024),
        "unit": _one_of("MiB"),
    }
)

_CPU = Rule(
    {
        "mode": _one_of("host-passthrough", "host-model", "maximum", "custom"),
        "match": _one_of("exact"),
        "check": _one_of("none"),
    },
    {
        "model": Rule({"fallback": _one_of("forbid")}, text=_like(r"[A-Za-z0-9._-]{1,64}")),
        "topology": Rule({name: _number(1, 4096) for name in ("sockets", "dies", "cores", "threads")}),
        "numa": Rule({}, {"cell": _CELL}),
    },
)

_TIMER = Rule(
    {
        "name": _one_of("rtc", "pit", "hpet", "hypervclock"),
        "tickpolicy": _one_of("catchup", "delay"),
        "present": _YES_NO,
    },
    many=True,
)

DOMAIN = Rule(
    {"type": _one_of("kvm", "qemu")},
    {
        "name": Rule(text=_NAME),
        "uuid": Rule(text=_UUID),
        "title": Rule(text=_short(255)),
        "metadata": Rule({}, {f"{{{NAMESPACE}}}owner": _OWNER}),
        "memory": _MIB,
        "currentMemory": _MIB,
        "memtune": Rule({}, {"hard_limit": _MIB}),
        "memoryBacking": Rule({}, {"nosharepages": _EMPTY}),
        "maxMemory": Rule({"unit": _one_of("MiB"), "slots": _number(1, 64)}, text=_number(1, 64 * 1024 * 1024)),
        "vcpu": Rule({"placement": _one_of("static"), "current": _number(1, 4096)}, text=_number(1, 4096)),
        "cputune": Rule(
            {},
            {
                "shares": Rule(text=_number(1, 262144)),
                "period": Rule(text=_number(1000, 1_000_000)),
                "quota": Rule(text=_number(-1, 17_592_186_044_415)),
            },
        ),
        "os": Rule(
            {"firmware": _one_of("efi")},
            {
                "type": Rule(
                    {"arch": _like(r"[a-z0-9_]{1,16}"), "machine": _like(r"[a-z0-9._-]{1,64}")}, text=_one_of("hvm")
                ),
                "firmware": Rule(
                    {},
                    {"feature": Rule({"enabled": _YES_NO, "name": _one_of("secure-boot", "enrolled-keys")}, many=True)},
                ),
                "nvram": Rule(text=_below("storage")),
            },
        ),
        "features": _FEATURES,
        "cpu": _CPU,
        "clock": Rule({"offset": _one_of("utc", "localtime")}, {"timer": _TIMER}),
        "on_poweroff": _word("destroy", "preserve"),
        "on_reboot": _word("restart", "destroy"),
        "on_crash": _word("destroy", "restart", "preserve"),
        "pm": Rule({}, {"suspend-to-mem": Rule({"enabled": _YES_NO}), "suspend-to-disk": Rule({"enabled": _YES_NO})}),
        "devices": _DEVICES,
    },
)

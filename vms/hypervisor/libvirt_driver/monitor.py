"""What libvirt has no verb for, asked of QEMU itself: snapshots inside the disks of a running domain, all at one moment.

Nothing here that libvirt keeps books of: neither nodes nor files change, so that its picture of the domain stays right.
Source: https://qemu.readthedocs.io/en/v7.2.0/interop/qemu-qmp-ref.html#qapidoc-transaction
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt_qemu  # type: ignore[import-untyped]

from vms.hypervisor.errors import Refused


@dataclass(frozen=True, slots=True)
class Node:
    """A disk's node in a running QEMU: what snapshots its file holds, and which bitmaps."""

    name: str
    path: str
    snapshots: tuple[str, ...]
    bitmaps: tuple[str, ...]


def nodes_on(raw: Any, paths: Collection[str]) -> list[Node]:
    """The qcow2 nodes of those files that the domain writes to, in the order of ``paths``."""
    found = {}
    for node in _ask(raw, "query-named-block-nodes", flat=True):
        if node["drv"] == "qcow2" and not node["ro"] and node["file"] in paths:
            names = tuple(each["name"] for each in node["image"].get("snapshots", ()))
            bitmaps = tuple(each["name"] for each in node.get("dirty-bitmaps", ()) if each.get("name"))
            found[node["file"]] = Node(node["node-name"], node["file"], names, bitmaps)
    return [found[path] for path in paths if path in found]


def take(raw: Any, nodes: Sequence[Node], name: str) -> None:
    """Keep what is on all nodes at one moment: one transaction, all of them or none."""
    actions = [
        {"type": "blockdev-snapshot-internal-sync", "data": {"device": node.name, "name": name}} for node in nodes
    ]
    _ask(raw, "transaction", actions=actions)


def drop(raw: Any, node: Node, name: str) -> None:
    """Forget every snapshot of that name on the node."""
    for each in node.snapshots:
        if each == name:
            _ask(raw, "blockdev-snapshot-delete-internal-sync", device=node.name, name=name)


def drop_bitmaps(raw: Any, node: Node) -> None:
    """Forget what changed on the node since whenever."""
    for bitmap in node.bitmaps:
        _ask(raw, "block-dirty-bitmap-remove", node=node.name, name=bitmap)


def _ask(raw: Any, command: str, **arguments: Any) -> Any:
    answer = json.loads(
        libvirt_qemu.qemuMonitorCommand(raw, json.dumps({"execute": command, "arguments": arguments}), 0)
    )
    if "error" in answer:
        raise Refused(f"{command}: {answer['error'].get('desc', 'no reason given')}")
    return answer["return"]

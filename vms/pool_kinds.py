"""What pools of each kind can do, and which one is a host's own; no word of a hypervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from vms.models import Host, StoragePool
from vms.models.volumes import PoolKind


@dataclass(frozen=True, slots=True)
class Ability:
    """What pools of a kind can do, and how their disks are named to machines.

    ``thin``: a disk of an image is an overlay over the copy in its host's own directory; else it is a whole copy.
    ``shared``: several hosts see the same disks. ``images``: libvirt can fill a disk from a file.
    """

    type: Literal["dir", "netfs", "logical", "rbd"]
    lies: Literal["file", "block", "network"] = "file"
    format: Literal["qcow2", "raw"] = "qcow2"
    thin: bool = False
    shared: bool = False
    images: bool = True


ABILITIES: Final[Mapping[str, Ability]] = {
    PoolKind.DIR: Ability("dir", thin=True),
    PoolKind.SHARED: Ability("dir", shared=True),
    PoolKind.NFS: Ability("netfs", shared=True),
    PoolKind.LVM: Ability("logical", lies="block", format="raw"),
    PoolKind.RBD: Ability("rbd", lies="network", format="raw", shared=True, images=False),
}
"""An overlay needs its base on every host that may run it, so what is shared holds whole copies."""


def home_path(host: Host) -> str:
    """Our own directory on a host: first disks, seeds, logs, firmware's memory and images' copies lie there."""
    return home_of(host.data_dir)


def home_of(data_dir: str) -> str:
    """The same of a host whose directory for disks is known."""
    return f"{data_dir}/pool"


def is_home(pool: StoragePool | None, host: Host) -> bool:
    """Is it the host's own directory? What has no pool yet will lie there."""
    return pool is None or pool.path == home_path(host)

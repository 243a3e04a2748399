"""What a form or the API asks for: frozen, typed, checked; pure but for the refusal's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vms.models import (
        BackupDisk,
        Flavor,
        Guest,
        Image,
        Network,
        PlacementGroup,
        SecurityGroup,
        SnapshotDisk,
        SshKey,
        StorageClass,
    )

NAME: Final = re.compile(r"\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
PASSWORD_MAX: Final = 128
MOST_ON_A_CARD: Final = 8
"""Security groups of one card."""
DISK_MAX_GIB: Final = 64 * 1024
START_ORDER_MAX: Final = 100
START_DELAY_MAX_S: Final = 3600


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume to be made: empty or of an image, of the default class where none is named, for a machine or for none.

    Limits are a second, reads and writes together; 0 is no limit of its own.
    """

    name: str
    size_gib: int
    storage_class: StorageClass | None = None
    image: Image | None = None
    source: BackupDisk | SnapshotDisk | None = None
    """The disk of a backup or of a snapshot that it is made of, instead of an image."""
    guest: Guest | None = None
    delete_with_guest: bool = False
    iops: int = 0
    mbps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWish:
    """A network as a customer draws it; what is empty is chosen by the portal.

    ``first`` and ``last`` bound the pool, ``routes`` are pairs of a range and the address that leads there, ``domain`` None is
    called after the network.
    """

    name: str
    description: str = ""
    outward: str = "nat"
    cidr: str = ""
    gateway: str = ""
    first: str = ""
    last: str = ""
    dns: tuple[str, ...] = ()
    domain: str | None = None
    mtu: int = 1500
    routes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A machine to be made: sizes by flavor, ids already turned into rows by the edge.

    ``networks`` empty means the tenant's default network. ``count`` > 1 makes ``name-1`` … ``name-N``.
    """

    name: str
    flavor: Flavor
    image: Image
    networks: tuple[Network, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()
    """What guards its cards; empty means what guards those of ``like`` on the same network, else the tenant's default group."""
    ips: tuple[str, ...] = ()
    """A wish for each card's address, in the order of ``networks``; an empty one, or none, comes out of the pool."""
    ssh_keys: tuple[SshKey, ...] = ()
    inline_keys: tuple[str, ...] = ()
    user_data: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    volumes: tuple[VolumeSpec, ...] = ()
    """Further disks, empty ones or made of something, for each of the machines; their own ``guest`` is not looked at."""
    root: BackupDisk | SnapshotDisk | None = None
    """The disk of a backup or of a snapshot that its first disk is made of, instead of its image."""
    like: Guest | None = None
    """The machine that it is built like, instead of what its image says; ``root`` is a disk in a snapshot of that one."""
    tags: tuple[str, ...] = ()
    placement_group: PlacementGroup | None = None
    count: int = 1
    start: bool = True
    protected: bool = False

    @property
    def root_gib(self) -> int:
        """How large its first disk is: as its size says, unless what it is made of is larger."""
        return max(self.flavor.disk_gib, self.root.size_gib if self.root is not None else 0)

    @property
    def more_gib(self) -> int:
        """How many GiB one machine has above what its size says."""
        return self.root_gib - self.flavor.disk_gib + sum(disk.size_gib for disk in self.volumes)

    def names(self) -> list[str]:
        """The names of the machines to be made."""
        if self.count == 1:
            return [self.name]
        return [f"{self.name}-{number}" for number in range(1, self.count + 1)]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What people say of an image; what is left at its default is what most cloud images are.

    ``source_format`` is what its bytes come as: another format is refused. ``least_disk_gib`` and ``min_memory_mib`` are what a
    machine of it needs.
    """

    name: str
    os_family: str = "linux"
    os_version: str = ""
    source_format: str = "qcow2"
    kind: str = "disk"
    firmware: str = "bios"
    secure_boot: bool = False
    tpm: bool = False
    disk_bus: str = "virtio"
    nic_model: str = "virtio"
    init: str = "cloud-init"
    default_user: str = "root"
    min_memory_mib: int = 64
    least_disk_gib: int = 0


@dataclass(frozen=True, slots=True)
class StartOrder:
    """When it is started after a restart of its host: the place among its project's machines, from 1 on, or None for after all
    that have one; and how many seconds it runs before those of later places follow."""

    order: int | None
    delay_s: int

"""How our things are called on a host. Every name carries the installation, and nothing a tenant typed.

Short, because a bridge's name ends at 15 characters and a unix socket's path at 107 bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is: the installation's id and its epoch (raised when a portal is restored from a copy)."""

    installation: str
    epoch: int

    @property
    def short(self) -> str:
        """Eight hex digits that stand for the installation in names."""
        return hashlib.sha256(self.installation.encode()).hexdigest()[:8]


def domain_name(owner: Owner, guest: UUID) -> str:
    """``gh-1a2b3c4d-<guest's hex>``."""
    return f"gh-{owner.short}-{guest.hex}"


def image_test_name(owner: Owner, test: UUID) -> str:
    """The machine by which an image is tried."""
    return f"gh-{owner.short}-t-{test.hex}"


def image_test_subject(test: UUID) -> str:
    """What its metadata says it is: no guest's id."""
    return f"image-test-{test.hex}"


def pool_name(owner: Owner) -> str:
    """Our one storage pool on a host."""
    return f"gh-{owner.short}"


def volume_name(volume: UUID) -> str:
    """A disk, inside our pool."""
    return f"vol-{volume.hex}.qcow2"


def raw_name(volume: UUID) -> str:
    """A disk in a pool whose disks are no files."""
    return f"vol-{volume.hex}"


def base_name(image: UUID, sha256: str) -> str:
    """An image's copy in a host's pool; another content is another name."""
    return f"img-{image.hex}-{sha256[:12]}.qcow2"


def seed_name(guest: UUID) -> str:
    """A guest's NoCloud seed, inside our pool."""
    return f"seed-{guest.hex}.iso"


def nvram_name(guest: UUID) -> str:
    """What a guest's UEFI remembers, inside our pool."""
    return f"nvram-{guest.hex}.fd"


def network_name(owner: Owner, network: UUID) -> str:
    """``gh-1a2b3c4d-<network's hex>``."""
    return f"gh-{owner.short}-{network.hex}"


def bridge_name(owner: Owner, network: UUID) -> str:
    """``gh`` and twelve hex digits of installation and network: unique on a host across installations."""
    return "gh" + hashlib.sha256(f"{owner.installation}/{network}".encode()).hexdigest()[:12]


def network_guard(name: str) -> str:
    """The packet filter of a network's cards, by the network's name: ``gh-1a2b3c4d-f-<network's hex>``."""
    head, _hyphen, tail = name.rpartition("-")
    return f"{head}-f-{tail}"


def filter_name(owner: Owner, network: UUID) -> str:
    """The packet filter of a network's ports."""
    return network_guard(network_name(owner, network))


def group_name(owner: Owner, group: UUID) -> str:
    """What a security group allows, as a packet filter."""
    return f"gh-{owner.short}-g-{group.hex}"


def card_name(owner: Owner, port: UUID) -> str:
    """The packet filter of one card that security groups guard."""
    return f"gh-{owner.short}-p-{port.hex}"


def vnc_socket(run_dir: str, guest: UUID) -> str:
    """Where a guest's display listens."""
    return f"{run_dir}/{guest.hex}.vnc"


def serial_socket(run_dir: str, guest: UUID) -> str:
    """Where a guest's serial line listens."""
    return f"{run_dir}/{guest.hex}.tty"


def backup_socket(run_dir: str, guest: UUID) -> str:
    """Where a guest's disks are read while a backup of them is made."""
    return f"{run_dir}/{guest.hex}.nbd"


def serial_log(guest: UUID) -> str:
    """What a guest wrote to its serial line, inside our pool, so that it goes with the guest."""
    return f"tty-{guest.hex}.log"


def snapshot_name(snapshot: UUID) -> str:
    """A snapshot, inside each disk's file; never one of the bare numbers by which QEMU also finds them."""
    return f"snap-{snapshot.hex}"


def keeper_name(owner: Owner, path: str) -> str:
    """The domain that never runs, by which a host changes the file of a disk that nobody has open."""
    return f"gh-{owner.short}-k-{hashlib.sha256(path.encode()).hexdigest()[:16]}"

"""The states a product noun can be in, and which moves between them are legal; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

type Trait = Literal["uefi", "secure_boot", "tpm"]
"""What a machine may be built of that not every host has."""

TRAITS: Final[tuple[Trait, ...]] = ("uefi", "secure_boot", "tpm")


class Power(StrEnum):
    """What a guest's machine is doing. ``UNKNOWN`` is silence, never a synonym of stopped."""

    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


class AfterCrash(StrEnum):
    """What becomes of a machine that went off without anybody having asked for it."""

    RESTART = "restart"
    LEAVE = "leave"


class HostState(StrEnum):
    """How well we hear a host: fresh, late, or not at all."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"


class ImageState(StrEnum):
    """Where an image stands on its way into the catalogue."""

    UPLOADING = "uploading"
    IMPORTING = "importing"
    READY = "ready"
    FAILED = "failed"
    DEPRECATED = "deprecated"
    DELETING = "deleting"


class ExportState(StrEnum):
    """Where the file of a disk stands that somebody wants to take away."""

    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


class ImageKind(StrEnum):
    """What an image is: a disk that machines start from, a CD, or the CD whose drivers every Windows machine is given."""

    DISK = "disk"
    ISO = "iso"
    DRIVERS = "drivers"


class Init(StrEnum):
    """What in an image reads a machine's seed at its first start."""

    CLOUD_INIT = "cloud-init"
    CLOUDBASE_INIT = "cloudbase-init"
    NONE = "none"


class VolumeState(StrEnum):
    """Whether a volume's bytes exist on a pool."""

    PLANNED = "planned"
    READY = "ready"
    DELETING = "deleting"


class BackupState(StrEnum):
    """How far a backup is; one that is ready can be restored."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    ERROR = "error"


class TurnState(StrEnum):
    """How far a machine's backup at one moment of a schedule is."""

    WAITING = "waiting"
    """For its time, or until nothing else is done with the machine."""
    ASKED = "asked"
    MADE = "made"
    """There, and nobody has looked yet which older ones may go."""
    DONE = "done"
    PASSED = "passed"
    """Nothing was asked of the machine."""
    FAILED = "failed"


class SnapshotState(StrEnum):
    """Where a snapshot stands: only a ready one can be reverted to; of one in error only part may lie in its disks."""

    CREATING = "creating"
    READY = "ready"
    REVERTING = "reverting"
    DELETING = "deleting"
    ERROR = "error"


class GuestStatus(StrEnum):
    """The one word a customer sees; derived, never stored (see ``vms.models.guests``)."""

    BUILDING = "building"
    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    MIGRATING = "migrating"
    DELETING = "deleting"
    BINNED = "binned"
    ERROR = "error"
    UNKNOWN = "unknown"


SETTLED = frozenset({Power.STOPPED, Power.RUNNING, Power.PAUSED, Power.SUSPENDED, Power.CRASHED})
"""Powers that a host can report of a defined domain."""
LOST = "off_since_boot"
"""The reason of a stopped machine that its host has not had on since the host itself began: who saw it on has lost it with the
host. Nobody stopped it."""
STOPPED_BY_SOMEBODY = frozenset({"shutdown", "destroyed"})
"""Reasons of a stopped machine that are somebody's deed, inside of it or on its host."""
OFF = frozenset({Power.STOPPED, Power.CRASHED, Power.ABSENT})
"""Powers in which a machine has lost its memory: what comes next is a start."""
ON = frozenset({Power.RUNNING, Power.PAUSED})
"""Powers in which a machine takes vCPUs and memory of its host; wanted or seen so, it counts as running."""

"""Volumes: what became of them on their pool."""

from __future__ import annotations

from vms.models import Volume
from vms.states import VolumeState


def volume_record(volume: Volume, state: VolumeState) -> None:
    """Write down a volume's state on its pool."""
    if volume.state != state:
        volume.state = state
        volume.save(update_fields=["state"])

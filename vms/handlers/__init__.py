"""One function per kind of operation; imported by workers only, for what it registers."""

from vms.handlers import (
    backups,
    cards,
    discs,
    guests,
    hosts,
    image_copies,
    image_tests,
    images,
    inside,
    networks,
    pools,
    power,
    rebuild,
    resize,
    snapshots,
    volumes,
)

__all__ = [
    "backups",
    "cards",
    "discs",
    "guests",
    "hosts",
    "image_copies",
    "image_tests",
    "images",
    "inside",
    "networks",
    "pools",
    "power",
    "rebuild",
    "resize",
    "snapshots",
    "volumes",
]

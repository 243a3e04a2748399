"""What is counted: names, and of which kind each is."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy


class Kind(StrEnum):
    """How a limit is held against a wish."""

    HELD = "held"
    """In use until it is given back: a counter."""
    EACH = "each"
    """What one machine may have: no counter."""
    RATE = "rate"
    """So much in ``RATE_WINDOW``, given back by time alone."""


RATE_WINDOW: Final = timedelta(hours=24)
DISK_OF: Final = "disk_gib:"
"""Before a storage class's name: the disk of that class. Such a row is made with its first use, without a limit."""
_CLASS: Final = re.compile(r"\Adisk_gib:[^\s/](?:[^/]{0,38}[^\s/])?\Z")

_CLASS_NAME: Final = gettext_lazy("disk (GiB) of class {name}")
RESOURCES: Final[dict[str, str | Promise]] = {
    "guests": gettext_lazy("machines"),
    "running_guests": gettext_lazy("running machines"),
    "vcpus": gettext_lazy("vCPUs"),
    "memory_mib": gettext_lazy("memory (MiB)"),
    "disk_gib": gettext_lazy("disk (GiB)"),
    "volumes": gettext_lazy("volumes"),
    "snapshots": gettext_lazy("snapshots"),
    "backups_gib": gettext_lazy("backups (GiB)"),
    "images": gettext_lazy("images"),
    "images_gib": gettext_lazy("images (GiB)"),
    "networks": gettext_lazy("networks"),
    "ports": gettext_lazy("network cards"),
    "addresses": gettext_lazy("addresses"),
    "public_addresses": gettext_lazy("public addresses"),
    "security_group_rules": gettext_lazy("security group rules"),
    "guest_vcpus": gettext_lazy("vCPUs of one machine"),
    "guest_memory_mib": gettext_lazy("memory (MiB) of one machine"),
    "guest_disk_gib": gettext_lazy("disk (GiB) of one machine"),
    "guest_ports": gettext_lazy("network cards of one machine"),
    "guest_volumes": gettext_lazy("volumes of one machine"),
    "guest_snapshots": gettext_lazy("snapshots of one machine"),
    "guest_creates_per_day": gettext_lazy("new machines a day"),
}
"""Every resource that each tenant has a row of, and its name in a sentence."""


def kind_of(resource: str) -> Kind:
    """How ``resource`` is held; raises ``ValueError`` for what is no resource."""
    if not is_resource(resource):
        raise ValueError(f"unknown quota resource {resource!r}")
    if resource.endswith("_per_day"):
        return Kind.RATE
    return Kind.EACH if resource.startswith("guest_") else Kind.HELD


def is_resource(name: str) -> bool:
    """Is there such a resource, or could there be: the disk of a storage class?"""
    return name in RESOURCES or _CLASS.match(name) is not None


def class_disk(storage_class: str) -> str:
    """The resource that counts disk of one storage class."""
    return f"{DISK_OF}{storage_class}"


def resource_words(resource: str) -> str | Promise:
    """What a resource is called in a sentence, said in the reader's language."""
    if resource.startswith(DISK_OF):
        return format_lazy(_CLASS_NAME, name=resource.removeprefix(DISK_OF))
    return RESOURCES.get(resource, resource)


def resource_name(resource: str) -> str:
    """What a resource is called in a sentence, in the present language."""
    return str(resource_words(resource))

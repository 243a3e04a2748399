"""What pages show of a machine: the server decides labels and allowed actions, the template shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.shapes import OperationShown, operation_shown
from portal.core.units import mib_label
from tenants.actors import Actor
from tenants.policy import Permission
from vms.models import Guest, Image
from vms.selectors.guests import GuestRow
from vms.selectors.hardware import hardware_words
from vms.services.guests.allowed import ASK_AN_OPERATOR, Answer, answer, condition_of
from vms.services.guests.kept import stop_is_kept
from vms.services.guests.observe import CRASHED
from vms.services.guests.power import ACTIONS, guest_actions
from vms.services.guests.wanting import is_lost
from vms.states import GuestStatus, Power, VolumeState

STATUS: Final[dict[GuestStatus, str | Promise]] = {
    GuestStatus.BUILDING: gettext_lazy("Building"),
    GuestStatus.RUNNING: gettext_lazy("Running"),
    GuestStatus.STOPPED: gettext_lazy("Stopped"),
    GuestStatus.PAUSED: gettext_lazy("Paused"),
    GuestStatus.SUSPENDED: gettext_lazy("Suspended"),
    GuestStatus.MIGRATING: gettext_lazy("Moving to another host"),
    GuestStatus.DELETING: gettext_lazy("Deleting"),
    GuestStatus.BINNED: gettext_lazy("In the bin"),
    GuestStatus.ERROR: gettext_lazy("Error"),
    GuestStatus.UNKNOWN: gettext_lazy("Unknown"),
}
QUICK: Final = ("start", "resume", "wake", "shutdown", "reboot")
"""Buttons in a machine's head; everything else is in its menu."""
FIRST: Final = ("start", "resume", "wake", "shutdown")
"""Buttons in a list's row."""
WARNINGS: Final[dict[str, str | Promise]] = {
    "reset": gettext_lazy(
        "Like the reset button: the machine starts anew at once. What it has not written to disk is lost."
    ),
    "stop": gettext_lazy("Like pulling the plug: off at once. What it has not written to disk is lost."),
}
"""Actions that ask first, and what they cost."""
DECIDING: Final = (Permission.GUEST_POWER, Permission.GUEST_DELETE, Permission.GUEST_EDIT, Permission.GUEST_CONSOLE)
"""Permissions on a machine that decide what can be done to it."""
VOLUME_STATES: Final[dict[str, str | Promise]] = {
    VolumeState.PLANNED: gettext_lazy("Planned"),
    VolumeState.READY: gettext_lazy("Ready"),
    VolumeState.DELETING: gettext_lazy("Deleting"),
}
ADDRESS_KINDS: Final[dict[str, str | Promise]] = {"private": gettext_lazy("Private"), "public": gettext_lazy("Public")}
SYSTEMS: Final = ("debian", "ubuntu", "windows", "alpine", "fedora", "rocky")


@dataclass(frozen=True, slots=True, eq=False)
class ActionShown:
    """One thing that can be done now; ``first`` stands in a row, ``quick`` in the head, all of them in the menu.

    There is one of each (``BUTTONS``), which is equal to itself alone.
    """

    name: str
    label: str | Promise
    icon: str
    danger: bool
    needs_confirm: bool
    quick: bool
    first: bool
    text: str | Promise = ""
    enabled: bool = True


BUTTONS: Final = {
    action.name: ActionShown(
        name=action.name,
        label=action.label,
        icon=action.icon,
        danger=action.danger,
        needs_confirm=action.name in WARNINGS,
        quick=action.name in QUICK,
        first=action.name in FIRST,
        text=WARNINGS.get(action.name, ""),
    )
    for action in ACTIONS.values()
}
"""Every power action as a button; made once, since fifty rows have hundreds of them."""


@dataclass(frozen=True, slots=True)
class AddressShown:
    """An address and the card that holds it."""

    ip: str
    mac: str
    network: str
    kind: str


@dataclass(frozen=True, slots=True)
class ProblemShown:
    """What is wrong, and what to do next."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class VolumeShown:
    """A disk of a machine."""

    pk: UUID
    name: str
    size_gib: int
    role_label: str
    state: str
    state_label: str
    position: int
    goes: bool
    """Is it deleted with the machine?"""


@dataclass(frozen=True, slots=True)
class GuestShown:
    """A machine for rows, headers and pages; equal where it shows the same, so that what was drawn of it can be kept.

    Not by its ``spark``, which is another each minute and is put into what was kept.
    """

    pk: UUID
    name: str
    status: str
    status_label: str
    operation: OperationShown | None
    problem: ProblemShown | None
    os_family: str
    image_name: str
    flavor_name: str
    next_flavor_name: str
    vcpus: int
    memory_label: str
    disk_gib: int
    firmware: str
    addresses: tuple[AddressShown, ...]
    volumes: tuple[VolumeShown, ...]
    tags: tuple[str, ...]
    protected: bool
    created_at: datetime
    lease_ends_at: datetime | None
    actions: tuple[ActionShown, ...]
    console: bool
    may_delete: bool
    may_restore: bool
    may_edit: bool
    may_resize: bool
    may_rebuild: bool
    may_rescue: bool
    may_unrescue: bool
    may_clone: bool
    may_capture: bool
    may_export: bool
    in_rescue: bool
    price: None = None
    spark: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What can be done to machines in one condition by somebody who may the same to each."""

    actions: tuple[ActionShown, ...]
    may_delete: bool
    may_edit: bool
    may_resize: bool
    may_rebuild: bool
    may_rescue: bool
    may_unrescue: bool
    may_clone: bool
    may_capture: bool
    may_export: bool
    console: bool


class _Page:
    """Machines as one actor sees them; what is the same for many is worked out once."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.offers: dict[tuple[Any, ...], _Offer] = {}
        self.words: dict[str, str] = {}

    def word(self, key: str, words: Mapping[Any, str | Promise]) -> str:
        """What ``words`` call it in the reader's language, or itself; no key is in two tables."""
        if key not in self.words:
            self.words[key] = str(words.get(key, key))
        return self.words[key]

    def offer(self, guest: Guest, *, busy: bool) -> _Offer:
        """What can be done to this one."""
        may = tuple(self.actor.may(permission, guest) for permission in DECIDING)
        key = (condition_of(guest), is_lost(guest), busy, *may)
        if key not in self.offers:
            self.offers[key] = self._offer(guest, busy, *may)
        return self.offers[key]

    def _offer(self, guest: Guest, busy: bool, power: bool, delete: bool, edit: bool, console: bool) -> _Offer:
        def may(kind: str, allowed: bool) -> bool:
            return allowed and not busy and answer(guest, kind, self.actor) == Answer.NOW

        reaches = edit or Permission.GUEST_EDIT not in self.actor.tagged
        copy = reaches and self.actor.may(Permission.SNAPSHOT_MANAGE)
        return _Offer(
            actions=tuple(BUTTONS[action.name] for action in guest_actions(guest, self.actor, busy=busy)),
            may_delete=delete and not busy,
            may_edit=edit and guest.binned_at is None,
            may_resize=may("guest.resize", edit),
            may_rebuild=may("guest.rebuild", delete),
            may_rescue=may("guest.rescue", edit),
            may_unrescue=may("guest.unrescue", edit),
            may_clone=may("guest.clone", copy and self.actor.may(Permission.GUEST_CREATE)),
            may_capture=may("guest.clone", copy and self.actor.may(Permission.IMAGE_MANAGE)),
            may_export=may("guest.clone", copy),
            console=console,
        )

    def shown(self, row: GuestRow) -> GuestShown:
        """One of them."""
        guest = row.guest
        offer = self.offer(guest, busy=row.operation is not None)
        return GuestShown(
            pk=guest.pk,
            name=guest.name,
            status=row.status,
            status_label=_in_the_bin(guest) if row.status == GuestStatus.BINNED else self.word(row.status, STATUS),
            operation=operation_shown(row.operation, self.actor) if row.operation is not None else None,
            problem=_problem(row),
            os_family=system_of(row.os_family, row.image_name),
            image_name=row.image_name,
            flavor_name=row.flavor_name,
            next_flavor_name=row.next_flavor_name,
            vcpus=guest.vcpus,
            memory_label=mib_label(guest.memory_mib),
            disk_gib=guest.disk_gib,
            firmware=hardware_words(guest),
            addresses=tuple(
                AddressShown(one.ip, one.mac, one.network_name, self.word(one.kind, ADDRESS_KINDS))
                for one in row.addresses
            ),
            volumes=_volumes(row),
            tags=tuple(row.tags),
            protected=guest.protected,
            created_at=guest.created_at,
            lease_ends_at=guest.lease_ends_at,
            actions=offer.actions,
            console=offer.console and _has_console(guest),
            may_delete=offer.may_delete,
            may_restore=offer.may_delete and guest.binned_at is not None,
            may_edit=offer.may_edit,
            may_resize=offer.may_resize,
            may_rebuild=offer.may_rebuild,
            may_rescue=offer.may_rescue,
            may_unrescue=offer.may_unrescue,
            may_clone=offer.may_clone,
            may_capture=offer.may_capture,
            may_export=offer.may_export,
            in_rescue=guest.in_rescue,
            spark=row.spark,
        )


def guest_shown(row: GuestRow, actor: Actor) -> GuestShown:
    """A machine as ``actor`` may see it; asks the database nothing that ``guest_rows`` has not read."""
    return _Page(actor).shown(row)


def guests_shown(rows: Iterable[GuestRow], actor: Actor) -> list[GuestShown]:
    """Machines as ``actor`` may see them."""
    page = _Page(actor)
    return [page.shown(row) for row in rows]


def bulk_actions(actor: Actor) -> list[dict[str, Any]]:
    """What can be done with many machines at once."""
    names = ("start", "shutdown", "reboot") if actor.may(Permission.GUEST_POWER) else ()
    buttons: list[dict[str, Any]] = [
        {"name": name, "label": ACTIONS[name].label, "icon": ACTIONS[name].icon, "danger": False} for name in names
    ]
    if actor.may(Permission.GUEST_DELETE):
        buttons.append({"name": "delete", "label": _("Delete"), "icon": "trash", "danger": True})
    return buttons


def system_of(family: str, name: str) -> str:
    """Which mark an image wears: by its family, else by its name."""
    text = f"{family} {name}".lower()
    return next((system for system in SYSTEMS if system in text), family)


def version_of(image: Image) -> str:
    """A bare number says that it is one; ``12 (bookworm)`` speaks for itself."""
    return _("Version %s") % image.os_version if image.os_version.isdecimal() else image.os_version


def _in_the_bin(guest: Guest) -> str:
    if guest.purge_after is None:
        return str(STATUS[GuestStatus.BINNED])
    return _("In the bin until %s") % date_format(guest.purge_after, "j M")


def _problem(row: GuestRow) -> ProblemShown | None:
    guest = row.guest
    if row.status == GuestStatus.UNKNOWN and stop_is_kept(guest) and row.operation is None:
        return ProblemShown(guest.problem_code, guest.problem_message, _("Start takes that back."))
    if row.status == GuestStatus.UNKNOWN:
        return ProblemShown(
            "host_silent",
            _("Its host does not answer, so nobody knows what it is doing."),
            _("It may well be running. Nothing is started twice meanwhile."),
        )
    if row.operation is not None:
        return None
    for_somebody = row.status == GuestStatus.ERROR and guest.problem_code != CRASHED
    hint = _("Start it again; if it stays, tell an operator.") if for_somebody else ""
    if guest.built_at is not None and guest.seen_power == Power.ABSENT and guest.binned_at is None:
        message = _("This machine is gone from its host, and nobody here asked for that.")
        return ProblemShown("gone", message, str(ASK_AN_OPERATOR))
    if guest.problem_code:
        return ProblemShown(guest.problem_code, guest.problem_message, hint)
    if row.status == GuestStatus.ERROR:
        return ProblemShown("crashed", _("This machine is not running any more, and nobody asked for that."), hint)
    return None


def _has_console(guest: Guest) -> bool:
    return Power(guest.seen_power) in (Power.RUNNING, Power.PAUSED) and bool(guest.seen_display)


def _volumes(row: GuestRow) -> tuple[VolumeShown, ...]:
    return tuple(
        VolumeShown(
            pk=volume.pk,
            name=volume.name,
            size_gib=volume.size_gib,
            role_label=_("Root disk") if volume.position == 0 else _("Data disk"),
            state=volume.state,
            state_label=str(VOLUME_STATES[volume.state]),
            position=volume.position,
            goes=volume.position == 0 or volume.delete_with_guest,
        )
        for volume in row.volumes
    )

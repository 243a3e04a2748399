"""Into a machine: a new password, another key; and looking at its screen, its serial log, what it says of itself.

What comes back is the guest's word. It is cut, cleaned, shown as "reported by the guest", and decides nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from vms.models import Guest, Reading
from vms.models.readings import ReadingKind
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.guests.check import password_hash
from vms.services.keys import key_parse
from vms.services.volumes.check import guest_locked
from vms.specs import PASSWORD_MAX

USER: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9._-]{0,31}\Z")
KEYS_MOST: Final = 20
LOG_BYTES: Final = 64 * 1024
SCREEN_BYTES: Final = 4 * 1024 * 1024
PNG: Final = b"\x89PNG\r\n\x1a\n"
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences
    r"|\x1b[PX^_\]][^\x07\x1b]*(?:\x07|\x1b\\)?"  # strings: titles, the clipboard
    r"|\x1b[ -/]*[0-~]?"
)


@transaction.atomic
def guest_set_password(guest: Guest, password: str, *, actor: Actor, user: str = "") -> Operation:
    """Ask the machine's agent to give ``user`` (its image's own, unless told another) a password.

    Only its hash is kept, sealed, until the operation is over.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    user = _user_of(guest, user)
    if not 1 <= len(password) <= PASSWORD_MAX or not password.isprintable():
        message = _("Between 1 and %d printable characters.") % PASSWORD_MAX
        raise Invalid(errors=[FieldError("/password", "invalid_password", message)])
    refuse_unless_allowed(guest, "guest.password", actor)
    guest.new_password = password_hash(password)
    guest.save(update_fields=["new_password"])
    operation = guest_ask(guest, "guest.password", actor=actor, params={"user": user})
    audit_record(actor, "guest.password", guest, user=user)
    return operation


@transaction.atomic
def guest_add_keys(guest: Guest, keys: list[str], *, actor: Actor, user: str = "") -> Operation:
    """Ask the machine's agent to let the OpenSSH public ``keys`` sign in as ``user``, beside those that may already."""
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    user = _user_of(guest, user)
    parsed = [key_parse(key, pointer=f"/ssh_keys/{number}")[0] for number, key in enumerate(keys)]
    if not parsed or len({*parsed, *guest.ssh_keys}) > KEYS_MOST:
        raise Invalid(errors=[FieldError("/ssh_keys", "too_many", _("At least one key, and at most twenty in all."))])
    refuse_unless_allowed(guest, "guest.keys", actor)
    operation = guest_ask(guest, "guest.keys", actor=actor, params={"user": user, "keys": parsed})
    audit_record(actor, "guest.keys", guest, user=user, keys=len(parsed))
    return operation


@transaction.atomic
def guest_look(guest: Guest, kind: ReadingKind, *, actor: Actor) -> Operation:
    """Ask for a look at the machine's screen, serial log, or what its agent says of it; a ``Reading`` holds what was seen."""
    actor.require(Permission.GUEST_CONSOLE, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.look", actor)
    operation = guest_ask(guest, "guest.look", actor=actor, params={"what": kind.value})
    audit_record(actor, "guest.look", guest, what=kind.value)
    return operation


def _user_of(guest: Guest, user: str) -> str:
    user = user or guest.image.default_user
    if not USER.match(user):
        raise Invalid(errors=[FieldError("/user", "invalid_user", _("This is not the name of a user."))])
    return user


def inside_settled(operation: Operation) -> None:
    """Done: what the machine has now is kept for the next time it is made anew. Not done: nothing is wrong with the machine."""
    guest = Guest.objects.select_for_update(of=("self",)).filter(pk=operation.subject_id).first()
    if guest is None:
        return
    if operation.status == Status.SUCCEEDED:
        guest.password_hash = guest.new_password or guest.password_hash
        guest.ssh_keys = list(dict.fromkeys([*guest.ssh_keys, *operation.params.get("keys", [])]))
    guest.new_password = ""
    guest.save(update_fields=["password_hash", "new_password", "ssh_keys"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def reading_record(guest: Guest, kind: ReadingKind, content: bytes) -> None:
    """Keep what was just seen in place of what was seen before."""
    Reading.objects.update_or_create(
        guest=guest, kind=kind, defaults={"tenant": guest.tenant, "content": content, "at": now()}
    )


def plain_log(raw: bytes) -> str:
    """A serial log as text: no terminal's commands, no control characters but line ends and tabs."""
    text = _ESCAPES.sub("", raw[-LOG_BYTES:].decode("utf-8", "replace")).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


@dataclass(frozen=True, slots=True)
class Reported:
    """What the guest says of itself, and when it said so; nobody has checked it."""

    hostname: str
    os_name: str
    addresses: tuple[str, ...]
    at: datetime


def guest_reported(guest: Guest) -> Reported | None:
    """The agent's last words, if it ever spoke."""
    row = Reading.objects.filter(guest=guest, kind=ReadingKind.FACTS).first()
    if row is None:
        return None
    said = json.loads(bytes(row.content))
    return Reported(said["hostname"], said["os_name"], tuple(said["addresses"]), row.at)


def guest_reading(guest: Guest, kind: ReadingKind) -> Reading | None:
    """The last look at its screen or serial log."""
    return Reading.objects.filter(guest=guest, kind=kind).first()

"""How our rows in a fabric's database are known: by ids and names made of what the portal calls them, and by a mark."""

from __future__ import annotations

import hashlib
from typing import Any, Final
from uuid import UUID, uuid5

from vms.hypervisor.errors import Refused
from vms.hypervisor.xml.metadata import Tag
from vms.names import Owner

_SPACE: Final = UUID("6f0f9d2e-6c1b-5d0e-9a55-0b6c4d7f2a11")
_INSTALLATION, _EPOCH = "guesthouse:installation", "guesthouse:epoch"
NAME, SUBJECT, TENANT, MACHINE = "guesthouse:name", "guesthouse:subject", "guesthouse:tenant", "guesthouse:machine"


def row_id(kind: str, name: str) -> UUID:
    """The id of the row that is ``kind`` of ``name``: whoever makes it, and whenever, it is the same one."""
    return uuid5(_SPACE, f"{kind}/{name}")


def marks(owner: Owner, name: str, tag: Tag | None = None) -> dict[str, str]:
    """What a row of ours carries in ``external_ids``."""
    more = {SUBJECT: tag.subject, TENANT: tag.tenant} if tag else {}
    return {_INSTALLATION: owner.installation, _EPOCH: str(owner.epoch), NAME: name, **more}


def owner_of(row: Any) -> Owner | None:
    """Whose a row is; None for one that no portal has made."""
    ids = row.external_ids
    epoch = ids.get(_EPOCH, "")
    return Owner(ids[_INSTALLATION], int(epoch)) if _INSTALLATION in ids and epoch.isdigit() else None


def must_be_ours(row: Any, owner: Owner, what: str) -> None:
    """Raise ``Refused`` for what somebody else has made, or this portal before it was restored from a copy."""
    found = owner_of(row)
    if found != owner:
        raise Refused(f"{what} belongs to {found}")


def group_row_name(name: str) -> str:
    """A port group's and an address set's name, in which a hyphen would be a minus."""
    return name.replace("-", "_")


def mac_of(name: str) -> str:
    """The MAC of a gateway of ours, the same for ever."""
    digits = hashlib.sha256(name.encode()).hexdigest()[:10]
    return "0a:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))


def bring(row: Any, **wanted: Any) -> None:
    """Have these columns hold this, and write only what differs; a row's former value must not have changed meanwhile."""
    for column, value in wanted.items():
        if _plain(getattr(row, column)) != _plain(value):
            row.verify(column)
            setattr(row, column, value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return sorted(str(getattr(each, "uuid", each)) for each in value)
    return value

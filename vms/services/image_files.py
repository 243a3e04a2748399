"""Images' own files that no row names: after a death at the wrong moment, or when the database was restored from before them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from django.db import transaction

from portal.core.ids import uuid_or_none
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Image
from vms.services.images import images_dir, unlink_on_commit

YOUNG_S: Final = 3600
"""A file lies in place for a moment before its row is written: one so young is nobody's finding."""


def image_files_stray() -> list[Path]:
    """Files in images' places, for an hour at least, whose id no row has. Needs every tenant's scope."""
    files = {path: uuid_or_none(path.stem) for path in images_dir().glob("*.qcow2")}
    known = set(Image.objects.filter(pk__in=[pk for pk in files.values() if pk]).values_list("pk", flat=True))
    return sorted(path for path, pk in files.items() if pk not in known and _is_old(path))


@transaction.atomic
def image_files_remove(files: list[Path], *, actor: Actor) -> list[Path]:
    """Remove those that are still strays, and say which. Only a person asks for it: another database may have their rows."""
    actor.require(Permission.OPERATE)
    gone = [path for path in image_files_stray() if path in files]
    for path in gone:
        unlink_on_commit(path)
    audit_record(actor, "image.files_remove", files=[path.name for path in gone])
    return gone


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > YOUNG_S
    except FileNotFoundError:  # it went since we looked
        return False

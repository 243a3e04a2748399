"""Storage classes: operators write them; volumes that exist keep theirs."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import StorageClass, StoragePool


@transaction.atomic
def storage_class_write(row: StorageClass | None, *, actor: Actor, **fields: Any) -> StorageClass:
    """Make a class (None) or change one; raises ``Invalid`` with every wrong field.

    Its name stays what it was made with: quotas, usage and bills know it by that. One class is the default, which machines'
    first disks are made of; another becomes it by being made so, and then the former one is not.
    """
    actor.require(Permission.OPERATE)
    fresh = row is None
    if row is not None:
        row = StorageClass.objects.select_for_update().get(pk=row.pk)
    row = row or StorageClass()
    changes = {name: [getattr(row, name), value] for name, value in fields.items() if getattr(row, name) != value}
    errors = [] if fresh else _fixed_errors(row, changes)
    for name, value in fields.items():
        setattr(row, name, value)
    if row.is_default and "is_default" in changes:
        errors += _default_errors(row)
    if row.is_default and not row.enabled:
        errors.append(FieldError("/enabled", "is_default", _("The default class is always offered.")))
    try:
        row.full_clean(exclude=["is_default"], validate_constraints=False)
    except ValidationError as error:
        errors += [FieldError(f"/{name}", "invalid", messages[0]) for name, messages in error.message_dict.items()]
    if errors:
        raise Invalid(errors=errors)
    if row.is_default:
        StorageClass.objects.filter(is_default=True).exclude(pk=row.pk).update(is_default=False)
    row.version += 1
    row.save()
    audit_record(
        actor, "storage_class.create" if fresh else "storage_class.edit", row, **(fields if fresh else changes)
    )
    return row


def _fixed_errors(row: StorageClass, changes: dict[str, list[Any]]) -> list[FieldError]:
    errors = []
    if "name" in changes:
        message = _("A class keeps its name: quotas and bills know it by that.")
        errors.append(FieldError("/name", "fixed", message))
    if row.is_default and "is_default" in changes:
        message = _("One class is the default: make another one it.")
        errors.append(FieldError("/is_default", "needs_one", message))
    return errors


def _default_errors(row: StorageClass) -> list[FieldError]:
    """First disks lie in hosts' own directories, so it is the class of one of those."""
    homes = StoragePool.objects.filter(storage_class=row, path=Concat("host__data_dir", Value("/pool")))
    if homes.exists():
        return []
    message = _("No host's own directory, where first disks lie, serves this class.")
    return [FieldError("/is_default", "no_pool", message)]

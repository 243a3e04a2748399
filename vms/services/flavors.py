"""Flavors: operators write them; machines keep the size they were made with."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Flavor
from vms.services.hosts import check_labels


@transaction.atomic
def flavor_write(flavor: Flavor | None, *, actor: Actor, **fields: Any) -> Flavor:
    """Make a flavor (None) or change one; raises ``Invalid`` with every wrong field."""
    actor.require(Permission.OPERATE)
    fresh = flavor is None
    flavor = flavor or Flavor()
    changes = {name: [getattr(flavor, name), value] for name, value in fields.items() if getattr(flavor, name) != value}
    check_labels(fields.get("labels", []))
    for name, value in fields.items():
        setattr(flavor, name, value)
    try:
        flavor.full_clean()
    except ValidationError as error:
        raise Invalid(
            errors=[FieldError(f"/{name}", "invalid", messages[0]) for name, messages in error.message_dict.items()]
        ) from error
    flavor.version += 1
    flavor.save()
    audit_record(actor, "flavor.create" if fresh else "flavor.edit", flavor, **(fields if fresh else changes))
    return flavor

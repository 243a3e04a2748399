"""Pools of hosts: operators say how full their hosts may be and how they are filled."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import HostPool
from vms.services.fabrics import pool_fabric_check
from vms.services.hosts import host_test


@transaction.atomic
def host_pool_write(pool: HostPool | None, *, actor: Actor, **fields: Any) -> HostPool:
    """Make a pool (None) or change one; what is on its hosts stays there. Raises ``Invalid`` with every wrong field,
    and ``Conflict`` (``pool_in_use``) where its fabric is to change under what is there.
    """
    actor.require(Permission.OPERATE)
    fresh = pool is None
    pool = HostPool() if pool is None else HostPool.objects.select_for_update(no_key=True).get(pk=pool.pk)
    changes = {name: [str(getattr(pool, name)), str(to)] for name, to in fields.items() if getattr(pool, name) != to}
    if "fabric" in fields:
        pool_fabric_check(pool, fields["fabric"])
    for name, value in fields.items():
        setattr(pool, name, value)
    if pool.down_after_s <= pool.suspect_after_s:
        message = _("A host is late before it is silent: this must be more.")
        raise Invalid(errors=[FieldError("/down_after_s", "too_small", message)])
    try:
        pool.full_clean()
    except ValidationError as error:
        raise Invalid(
            errors=[FieldError(f"/{name}", "invalid", messages[0]) for name, messages in error.message_dict.items()]
        ) from error
    pool.save()
    pool.refresh_from_db()
    said = {name: str(value) for name, value in fields.items()} if fresh else changes
    audit_record(actor, "host_pool.create" if fresh else "host_pool.edit", pool, **said)
    if "fabric" in changes:
        for host in pool.hosts.order_by("pk"):
            host_test(host, actor=actor)  # its fabric, too, once what is said of the host holds there
    return pool

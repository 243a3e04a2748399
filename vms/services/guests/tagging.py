"""Tags of a guest."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.utils.translation import gettext as _

from portal.core.errors import Conflict
from tenants.journal.ledger import journal_lock
from vms.models import Guest, Tag


def guest_set_tags(guest: Guest, tags: Iterable[str]) -> None:
    """Make the guest wear exactly ``tags`` (checked already); runs in the caller's transaction.

    The journal, which every change of tags writes, is locked first: two that make or drop the same tag take turns.
    """
    wanted = sorted(set(tags))
    journal_lock(guest.tenant)
    known = {tag.name: tag for tag in Tag.objects.filter(name__in=wanted)}
    fresh = [name for name in wanted if name not in known]
    if fresh and Tag.objects.count() + len(fresh) > settings.CAPS["tags"]:
        unused = Tag.objects.filter(guests=None)
        unused.delete()
        if Tag.objects.count() + len(fresh) > settings.CAPS["tags"]:
            raise Conflict(_("This project has as many tags as it can have."), code="too_many_tags", hint="")
    for name in fresh:
        known[name] = Tag.objects.create(tenant=guest.tenant, name=name)
    guest.tags.set([known[name] for name in wanted])

"""The kinds of operations on backups: what they are called, how long they may take, and how they settle."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.backups import settle

WEEK_S = 7 * 86400
"""A deletion waits until nobody uses the repository."""

declare(Kind("backup.create", _("Back up %(name)s"), settle=settle.created, cancellable=True, long=True))
declare(Kind("backup.verify", _("Verify backup %(name)s"), settle=settle.verified, cancellable=True, long=True))
declare(Kind("backup.delete", _("Delete backup %(name)s"), settle=settle.deleted, deadline_s=WEEK_S, long=True))
declare(
    Kind(
        "backup.tidy",
        _("Let go of backups that are no longer kept"),
        settle=settle.tidied,
        deadline_s=WEEK_S,
        long=True,
    )
)

"""The kinds of operations on backups: what they are called, how long they may take, and how they settle."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.backups import settle

DAY_S = 86400
"""A large disk over a slow line."""
WEEK_S = 7 * DAY_S
"""A deletion waits until nobody uses the repository."""

declare(Kind("backup.create", _("Back up %(name)s"), settle=settle.created, deadline_s=DAY_S, cancellable=True))
declare(Kind("backup.verify", _("Verify backup %(name)s"), settle=settle.verified, deadline_s=DAY_S, cancellable=True))
declare(Kind("backup.delete", _("Delete backup %(name)s"), settle=settle.deleted, deadline_s=WEEK_S))
declare(Kind("backup.tidy", _("Let go of backups that are no longer kept"), settle=settle.tidied, deadline_s=WEEK_S))

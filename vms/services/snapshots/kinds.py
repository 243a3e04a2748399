"""The kinds of operations on snapshots: what they are called, how long they may take, and how they settle."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.snapshots import settle

DEADLINE_S = 900
LONG_S = 7 * 86400
"""A deletion waits for a silent host."""

declare(Kind("snapshot.create", _("Take snapshot %(name)s"), settle=settle.created, deadline_s=DEADLINE_S))
declare(Kind("snapshot.revert", _("Revert to snapshot %(name)s"), settle=settle.reverted, deadline_s=DEADLINE_S))
declare(Kind("snapshot.delete", _("Delete snapshot %(name)s"), settle=settle.deleted, deadline_s=LONG_S))

"""The kinds of operations on volumes: what they are called, how long they may take, and how they settle."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.volumes import settle

DEADLINE_S = 900
LONG_S = 7 * 86400
"""A deletion waits for a silent host, and writes zeros over whatever its class says."""

declare(
    Kind("volume.create", _("Create volume %(name)s"), settle=settle.created, deadline_s=DEADLINE_S, cancellable=True)
)
declare(Kind("volume.copy", _("Copy volume %(name)s"), settle=settle.created, cancellable=True, long=True))
declare(Kind("volume.attach", _("Attach volume %(name)s"), settle=settle.attached, deadline_s=DEADLINE_S))
declare(Kind("volume.detach", _("Detach volume %(name)s"), settle=settle.detached, deadline_s=DEADLINE_S))
declare(Kind("volume.extend", _("Extend volume %(name)s"), settle=settle.extended, deadline_s=DEADLINE_S))
declare(Kind("volume.limit", _("Limit volume %(name)s"), settle=settle.limited, deadline_s=DEADLINE_S))
declare(Kind("volume.delete", _("Delete volume %(name)s"), settle=settle.deleted, deadline_s=LONG_S))

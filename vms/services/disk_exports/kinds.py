"""The one kind of operation that makes such a file."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.disk_exports.keep import disk_export_settle

declare(Kind("volume.export", _("Export %(name)s"), settle=disk_export_settle, cancellable=True, long=True))

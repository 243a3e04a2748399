"""The kind of operation by which a machine goes back to a backup."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services.putback.ask import KIND
from vms.services.putback.settle import put_back

declare(Kind(KIND, _("Restore %(name)s to a backup"), settle=put_back, cancellable=True, long=True))

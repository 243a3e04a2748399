"""The words of the operators' dashboard."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from operations.admin import operation_label
from operations.models import Operation
from tenants.services.quota import RESOURCES
from vms.admin import shown
from vms.models import Drift, Host
from vms.selectors.fleet import NearQuota

register = template.Library()


@register.simple_tag
def host_state(host: Host) -> str:
    """A host's shape and word."""
    return shown.host_state(host)


@register.simple_tag
def operation_words(operation: Operation) -> str:
    """``Create web-1``."""
    return operation_label(operation)


@register.simple_tag
def drift_words(drift: Drift) -> str:
    """What was found, in words."""
    return shown.drift_words(drift)


@register.simple_tag
def quota_words(near: NearQuota) -> str:
    """``vCPUs 19 of 20``."""
    words = {"name": RESOURCES.get(near.resource, near.resource), "used": near.used, "limit": near.limit}
    return _("%(name)s %(used)d of %(limit)d") % words

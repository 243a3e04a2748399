"""The request as views see it: with an actor."""

from __future__ import annotations

from django.http import HttpRequest as DjangoRequest

from tenants.actors import Actor


class HttpRequest(DjangoRequest):
    """A request that has passed ``tenants.middleware``."""

    actor: Actor
    request_id: str
    event_seq: int
    """How far the tenant's journal stood when a page began to read (``tenants.pages``)."""

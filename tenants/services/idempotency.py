"""Repeat safety: what a POST answered is kept in the transaction of what it did, so the two are never apart."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from portal.core.sealed import seal, unseal
from tenants.models import IdempotentAnswer

KEY_MAX = 255


class IdempotencyMismatch(Invalid):
    """The key was used for another request."""

    code = "idempotency_mismatch"


def answer_claim(*, caller: UUID, key: str, digest: str) -> tuple[IdempotentAnswer, bool]:
    """The answer kept under ``key`` and False, or a fresh row to be filled and True. In the transaction of the request.

    Of several at once exactly one gets the fresh row; the others wait for its end: for its answer where it committed,
    to try by themselves where it did not. Raises ``IdempotencyMismatch`` where the key stands for another request.
    """
    if not key or len(key) > KEY_MAX or not key.isprintable():
        message = _("Between 1 and %d printable characters.") % KEY_MAX
        raise Invalid(code="invalid_idempotency_key", errors=[FieldError("/Idempotency-Key", "invalid", message)])
    IdempotentAnswer.objects.filter(
        caller=caller, key=key, created_at__lt=now() - settings.IDEMPOTENCY_RETENTION
    ).delete()
    try:
        with transaction.atomic():
            return IdempotentAnswer.objects.create(caller=caller, key=key, request_digest=digest), True
    except IntegrityError:
        kept = IdempotentAnswer.objects.get(caller=caller, key=key)
    if kept.request_digest != digest:
        raise IdempotencyMismatch(_("This Idempotency-Key was used for another request."), hint=_("Use a fresh key."))
    return kept, False


def answer_keep(row: IdempotentAnswer, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fill a fresh row with the answer; sealed, since it may hold a secret that is shown once."""
    row.status, row.headers = status, dict(headers)
    row.body = seal(body.decode()) if body else ""
    row.save(update_fields=["status", "headers", "body"])


def answer_body(row: IdempotentAnswer) -> bytes:
    """The kept body."""
    return unseal(row.body).encode() if row.body else b""

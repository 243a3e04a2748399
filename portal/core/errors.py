"""Everything the portal may refuse, as exceptions with a code, an HTTP status and a sentence a customer may read.

``message`` is the sentence; ``hint`` says what to do next; keyword arguments fill both and travel as ``details``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong; ``pointer`` is a JSON pointer into the body (``/ssh_keys/0``)."""

    pointer: str
    code: str
    message: str


class PortalError(Exception):
    """Base of the refusals below; raise the most specific one."""

    code = "error"
    http_status = 500
    message: str | Promise = _("Something went wrong.")
    hint: str | Promise = ""

    def __init__(
        self,
        message: str | Promise | None = None,
        *,
        code: str | None = None,
        hint: str | Promise | None = None,
        errors: Sequence[FieldError] = (),
        **details: Any,
    ) -> None:
        self.details = details
        self.errors = tuple(errors)
        if code is not None:
            self.code = code
        text = self.message if message is None else message
        after = self.hint if hint is None else hint
        self.sentence = str(text) % details if details and "%(" in str(text) else str(text)
        self.advice = str(after) % details if details and "%(" in str(after) else str(after)
        super().__init__(self.sentence)


class Invalid(PortalError):
    """The request is understood and wrong; ``errors`` says where."""

    code = "invalid"
    http_status = 422
    message = _("Some of this cannot be used as it is.")


class Forbidden(PortalError):
    """The caller may see the thing but not do this to it."""

    code = "forbidden"
    http_status = 403
    message = _("Your role does not allow this.")
    hint = _("Ask an owner or admin of the project.")


class Missing(PortalError):
    """Not there, or not yours: the same answer."""

    code = "not_found"
    http_status = 404
    message = _("There is nothing here.")


class Conflict(PortalError):
    """Right in itself, but not in the state things are in."""

    code = "conflict"
    http_status = 409
    message = _("Something else is going on with this right now.")
    hint = _("Wait until it has finished, then try again.")


class OverQuota(Conflict):
    """The tenant's limit leaves no room; details: name, limit, used, asked."""

    code = "over_quota"
    message = _(
        "The quota does not cover this: %(name)s is limited to %(limit)s, %(used)s are in use, %(asked)s more are asked for."
    )
    hint = _("Delete something, or ask for a larger quota.")


class Stale(PortalError):
    """``If-Match`` names a version that is no longer the newest."""

    code = "stale"
    http_status = 412
    message = _("This has been changed by somebody else since you looked.")
    hint = _("Load it again and repeat your change.")


class TooMany(PortalError):
    """A rate limit; ``retry_after_s`` in the details."""

    code = "rate_limited"
    http_status = 429
    message = _("That was too many requests in a short time.")
    hint = _("Wait a moment, then try again.")


class Unreachable(PortalError):
    """A part we depend on does not answer; worth a retry."""

    code = "unreachable"
    http_status = 503
    message = _("A part of the system does not answer right now.")
    hint = _("Nothing was changed. Try again in a minute.")


class NotUnderstood(PortalError):
    """No request of ours: a host name that is not ours, a header that no client sends."""

    code = "not_understood"
    http_status = 400
    message = _("This request was not understood.")
    hint = _("Use the address that the operator gave you.")


class Broken(PortalError):
    """Our own fault; the details go to the log, not to the customer."""

    code = "broken"
    http_status = 500
    message = _("The portal made a mistake.")
    hint = _("Tell the operator the request id.")

"""One piece of a file that comes in many requests: bytes, and where they belong."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext as _

from portal.core.bodies import TooLarge, UnsupportedMedia
from portal.core.errors import FieldError, Invalid

BYTES = "application/octet-stream"
OFFSET = "Upload-Offset"


def read_piece(request: HttpRequest, *, most: int) -> tuple[bytes, int]:
    """The request's bytes, at most ``most``, and the offset of the first; the body must not have been read yet.

    Raises ``UnsupportedMedia``, ``TooLarge`` or ``Invalid``.
    """
    if request.content_type != BYTES:
        raise UnsupportedMedia(_("A piece of an upload is sent as Content-Type: application/octet-stream."))
    offset = request.headers.get(OFFSET, "")
    if not offset.isascii() or not offset.isdecimal() or len(offset) > 15:
        message = _("Say in the header Upload-Offset at which byte this piece begins.")
        raise Invalid(errors=[FieldError(f"/{OFFSET}", "invalid_offset", message)])
    piece = request.read(most + 1)
    if len(piece) > most:
        raise TooLarge
    return piece, int(offset)

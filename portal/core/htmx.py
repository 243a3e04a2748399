"""What a request of htmx's asks for: the whole page, or which part of it."""

from __future__ import annotations

from django.http import HttpRequest


def is_partial(request: HttpRequest) -> bool:
    """Does a fragment go into an open page, rather than a page into a browser?

    htmx says ``full`` where it takes a whole page apart itself.
    """
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type") != "full"


def part_template(request: HttpRequest, page: str, *, default: str, parts: tuple[str, ...] = ()) -> str:
    """``page``; for a partial request ``page#part``: the one named in ``?part=``, if among ``parts``, else ``default``."""
    if not is_partial(request):
        return page
    asked = request.GET.get("part", default)
    return f"{page}#{asked if asked in parts else default}"


def here(request: HttpRequest) -> str:
    """The page's own address, without the words that htmx adds to ask for a part of it."""
    query = request.GET.copy()
    query.pop("part", None)
    return f"{request.path}?{query.urlencode()}" if query else request.path

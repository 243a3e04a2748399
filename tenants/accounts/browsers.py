"""What people sign in with: a browser's name in words, and whether it was seen before."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from tenants.models import User

COOKIE: Final = "seen"
COOKIE_AGE_S: Final = 400 * 24 * 3600
PEOPLE: Final = 5
"""So many people of one browser are remembered in it."""

BROWSERS: Final = (
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
"""What a browser says of itself and what that is, the more particular first: Edge calls itself Chrome, Chrome Safari."""


def browser_label(agent: str) -> str:
    """``Firefox on Linux``, from what a browser says of itself; the beginning of that where it is none we know."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or agent[:60] or _("An unknown browser")


def was_seen(request: HttpRequest, user: User) -> bool:
    """Did ``user`` sign in with this browser before? It carries a mark that only we can make."""
    return any(constant_time_compare(mark, _mark(user)) for mark in _marks(request))


def see(request: HttpRequest, response: HttpResponseBase, user: User) -> None:
    """Have the browser remember that ``user`` signed in with it."""
    own = _mark(user)
    marks = [own, *(mark for mark in _marks(request) if mark != own)][:PEOPLE]
    response.set_cookie(
        COOKIE,
        ".".join(marks),
        max_age=COOKIE_AGE_S,
        path="/account/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _marks(request: HttpRequest) -> list[str]:
    return request.COOKIES.get(COOKIE, "").split(".")[:PEOPLE]


def _mark(user: User) -> str:
    """What a browser of ``user``'s carries; says nothing to anybody else."""
    return salted_hmac("tenants.accounts.browsers", str(user.pk), algorithm="sha256").hexdigest()[:40]

"""REST: into a machine by its agent, and looks at it. Whatever it says is its own word."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Nothing
from portal.core.errors import Missing
from portal.core.etags import find
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Guest
from vms.models.readings import ReadingKind
from vms.selectors.guests import guests_visible
from vms.services.guests import guest_add_keys, guest_look, guest_set_password
from vms.services.guests.inside import guest_reading, guest_reported

router = Router(tags=["guests"])


class PasswordIn(Body):
    """A new password; without a user, that of the image's own."""

    password: str = Field(max_length=128)
    user: str = Field(default="", max_length=32)


class KeysIn(Body):
    """OpenSSH public keys; without a user, for the image's own."""

    ssh_keys: list[str] = Field(min_length=1, max_length=20)
    user: str = Field(default="", max_length=32)


class ReportedOut(BaseModel):
    """What the guest says of itself. Nobody has checked it."""

    hostname: str
    os_name: str
    addresses: list[str]
    reported_at: datetime


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


@router.post(
    "/guests/{guest_id}/password", response={202: OperationOut}, exclude_unset=True, summary="Reset a password"
)
def guest_password(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: PasswordIn
) -> Status[OperationOut]:
    """Have the machine's agent set it; it is kept nowhere. Fails with `agent_silent` where none answers."""
    guest = _guest(request, guest_id)
    return accepted(request, response, guest_set_password(guest, body.password, actor=request.actor, user=body.user))


@router.post("/guests/{guest_id}/keys", response={202: OperationOut}, exclude_unset=True, summary="Add SSH keys")
def guest_keys(request: HttpRequest, guest_id: str, response: HttpResponse, body: KeysIn) -> Status[OperationOut]:
    """Have the machine's agent let more keys sign in. Fails with `agent_silent` where none answers."""
    guest = _guest(request, guest_id)
    return accepted(request, response, guest_add_keys(guest, body.ssh_keys, actor=request.actor, user=body.user))


def _look(kind: ReadingKind, path: str, summary: str, words: str) -> None:
    """The route that asks for one kind of look."""

    def endpoint(
        request: HttpRequest, guest_id: str, response: HttpResponse, body: Nothing | None = None
    ) -> Status[OperationOut]:
        return accepted(request, response, guest_look(_guest(request, guest_id), kind, actor=request.actor))

    endpoint.__name__ = endpoint.__qualname__ = f"guest_look_{kind.value}"
    router.post(
        f"/guests/{{guest_id}}/{path}",
        response={202: OperationOut},
        exclude_unset=True,
        summary=summary,
        description=words,
    )(endpoint)


_look(ReadingKind.SCREEN, "screenshot", "Take a screenshot", "Look at its screen; GET the picture when that is done.")
_look(ReadingKind.LOG, "console-log", "Read the console log", "Read its serial log; GET the text when that is done.")
_look(
    ReadingKind.FACTS, "reported", "Ask the agent", "Have its agent say what it is; GET the answer when that is done."
)


def _content(request: HttpRequest, guest_id: str, kind: ReadingKind) -> bytes:
    request.actor.require(Permission.GUEST_CONSOLE)
    reading = guest_reading(_guest(request, guest_id), kind)
    if reading is None:
        raise Missing
    return bytes(reading.content)


@router.get(
    "/guests/{guest_id}/screenshot",
    summary="Get the screenshot",
    openapi_extra={
        "responses": {
            200: {
                "description": "The picture.",
                "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            }
        }
    },
)
def guest_screenshot(request: HttpRequest, guest_id: str) -> HttpResponse:
    """The picture that was taken last, as PNG; 404 before the first."""
    return HttpResponse(_content(request, guest_id, ReadingKind.SCREEN), content_type="image/png")


@router.get(
    "/guests/{guest_id}/console-log",
    summary="Get the console log",
    openapi_extra={
        "responses": {200: {"description": "The log.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    },
)
def guest_console_log(request: HttpRequest, guest_id: str) -> HttpResponse:
    """The end of its serial log as it was read last: plain text, without what would move a terminal; 404 before the first."""
    return HttpResponse(_content(request, guest_id, ReadingKind.LOG), content_type="text/plain; charset=utf-8")


@router.get("/guests/{guest_id}/reported", response=ReportedOut, summary="Get what the agent said")
def guest_reported_get(request: HttpRequest, guest_id: str) -> ReportedOut:
    """What the guest said of itself last; 404 before the first time."""
    request.actor.require(Permission.GUEST_VIEW)
    said = guest_reported(_guest(request, guest_id))
    if said is None:
        raise Missing
    return ReportedOut(
        hostname=said.hostname, os_name=said.os_name, addresses=list(said.addresses), reported_at=said.at
    )

"""REST: guests of a tenant."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status

from operations.api import OperationOut, accepted
from portal.core.bodies import Listed, Nothing, refuse_unknown
from portal.core.etags import etag_of, find
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.guest_shapes import (
    ConsoleIn,
    ConsoleOut,
    GuestIn,
    GuestOut,
    GuestPatch,
    GuestQuery,
    ShutdownIn,
    guest_out,
    guest_spec,
)
from vms.models import Guest
from vms.seed_preview import seed_preview
from vms.selectors.guests import guest_row, guest_rows, guests_visible
from vms.services.consoles import console_open
from vms.services.guests import guest_create, guest_delete, guest_edit, guest_fit, guest_power, guest_restore

router = Router(tags=["guests"])


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


def guest_answer(request: HttpRequest, response: HttpResponse, guest: Guest) -> GuestOut:
    """The machine as it stands now, with its ``ETag``."""
    row = guest_row(guest)
    response["ETag"] = etag_of(row.guest)
    return guest_out(row, operator=request.actor.is_operator)


@router.get("/guests", response=Listed[GuestOut], exclude_unset=True, summary="List guests")
def guest_list(request: HttpRequest, query: Query[GuestQuery]) -> dict[str, Any]:
    """Machines of the project; those in the bin only by `?status=binned`."""
    request.actor.require(Permission.GUEST_VIEW)
    refuse_unknown(request, query)
    page = guest_rows(request.actor, query.filters(), sort=query.sort, cursor=query.cursor, limit=query.limit)
    operator = request.actor.is_operator
    return {"items": [guest_out(row, operator=operator) for row in page.items], "next": page.next}


@router.post("/guests", response={202: OperationOut, 200: FitOut}, exclude_unset=True, summary="Create guests")
def guest_post(
    request: HttpRequest, response: HttpResponse, body: GuestIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Make one machine, or `count` of them under one parent operation; `?dry_run=true` only says whether it would fit."""
    tenant = tenant_in_path(request)
    request.actor.require(Permission.GUEST_CREATE)
    spec = guest_spec(body)
    if not dry_run:
        return accepted(request, response, guest_create(tenant, spec, actor=request.actor))
    return Status(200, fit_out(guest_fit(tenant, spec, actor=request.actor), seed_preview(spec)))


@router.get("/guests/{guest_id}", response=GuestOut, exclude_unset=True, summary="Get a guest")
def guest_get(request: HttpRequest, guest_id: str, response: HttpResponse) -> GuestOut:
    """One machine, also from the bin."""
    request.actor.require(Permission.GUEST_VIEW)
    return guest_answer(request, response, _guest(request, guest_id))


@router.patch("/guests/{guest_id}", response=GuestOut, exclude_unset=True, summary="Change a guest")
def guest_patch(request: HttpRequest, guest_id: str, response: HttpResponse, body: GuestPatch) -> GuestOut:
    """Rename, tag, protect, or say when it is started; the host name inside the machine stays what it was."""
    guest = _guest(request, guest_id)
    guest = guest_edit(guest, actor=request.actor, **body.changes(guest))
    return guest_answer(request, response, guest)


@router.delete("/guests/{guest_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a guest")
def guest_remove(
    request: HttpRequest, guest_id: str, response: HttpResponse, purge: bool = False, volumes: bool | None = None
) -> Status[OperationOut]:
    """Move it to the bin for the project's grace period; `?purge=true` removes it at once and leaves nothing.

    Its data volumes hang on it while it is in the bin. When it is removed, `?volumes=true` deletes them too, `false` lets them
    go; without it each does what its `delete_with_guest` says.
    """
    guest = _guest(request, guest_id)
    operation = guest_delete(guest, actor=request.actor, purge=purge, delete_volumes=volumes)
    return accepted(request, response, operation)


@router.post(
    "/guests/{guest_id}/restore", response={202: OperationOut}, exclude_unset=True, summary="Restore from the bin"
)
def guest_restore_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Bring machine, disks and addresses back, stopped; its vCPUs and memory are reserved anew, so this may be refused."""
    return accepted(request, response, guest_restore(_guest(request, guest_id), actor=request.actor))


@router.post("/guests/{guest_id}/console", response=ConsoleOut, summary="Open a console")
def guest_console(request: HttpRequest, guest_id: str, body: ConsoleIn | None = None) -> ConsoleOut:
    """A single-use address of the screen or the serial line; no Idempotency-Key here, since it lives for 30 seconds."""
    opening = console_open(_guest(request, guest_id), kind=(body or ConsoleIn()).kind, actor=request.actor)
    return ConsoleOut(url=opening.url, ticket=opening.ticket, expires_at=opening.expires_at, kind=opening.kind)


@router.post(
    "/guests/{guest_id}/shutdown", response={202: OperationOut}, exclude_unset=True, summary="Shut a guest down"
)
def guest_shutdown(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: ShutdownIn | None = None
) -> Status[OperationOut]:
    """Press the power button and wait `grace_s` seconds; a machine that does not listen stays on and the operation fails."""
    grace_s = (body or ShutdownIn()).grace_s
    operation = guest_power(_guest(request, guest_id), "shutdown", actor=request.actor, grace_s=grace_s)
    return accepted(request, response, operation)


def _power(action: str, summary: str, words: str) -> None:
    """One route for each button that needs no more than its name."""

    def endpoint(
        request: HttpRequest, guest_id: str, response: HttpResponse, body: Nothing | None = None
    ) -> Status[OperationOut]:
        return accepted(request, response, guest_power(_guest(request, guest_id), action, actor=request.actor))

    endpoint.__name__ = endpoint.__qualname__ = f"guest_{action}"
    router.post(
        f"/guests/{{guest_id}}/{action}",
        response={202: OperationOut},
        exclude_unset=True,
        summary=summary,
        description=words,
    )(endpoint)


_power("start", "Start a guest", "Switch a stopped machine on.")
_power("stop", "Stop a guest", "Pull the plug: at once, without asking the machine.")
_power("reboot", "Reboot a guest", "Ask the machine to restart by itself.")
_power("reset", "Reset a guest", "Push the reset button: at once, without asking.")
_power("pause", "Pause a guest", "Stop its processors; its memory stays where it is.")
_power("resume", "Resume a guest", "Let a paused machine run on.")
_power("suspend", "Suspend a guest to disk", "Write its memory to disk and switch it off.")
_power("wake", "Wake a guest", "Read the memory of a suspended machine back and run on.")

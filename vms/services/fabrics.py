"""Fabrics: written down by operators, tested by workers; what stands on one keeps it as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from operations.states import LIVE
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.scoping import every_tenant
from vms.models import Fabric, Guest, Host, HostPool, NetworkOnHost
from vms.selectors.fabrics import fabric_is_used

KIND: Final = "fabric.probe"
KEPT: Final = ("mtu", "physnet", "outer_address", "outer_gateway", "carriers", "resolvers")
"""What networks were made with: it stays while any stands on the fabric."""
REMOTE: Final = re.compile(r"\A(?:ssl:(?:[0-9A-Za-z.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}|unix:/[A-Za-z0-9._/-]+)\Z")
FOLDER: Final = re.compile(r"\A/[A-Za-z0-9._/-]+\Z")
WORD: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
LISTED_MAX: Final = 8


@transaction.atomic
def fabric_write(fabric: Fabric | None, *, actor: Actor, **fields: Any) -> tuple[Fabric, Operation]:
    """Write a fabric down (None) or change one, and have a worker test it.

    Raises ``Invalid`` with every wrong field, and ``Conflict`` (``fabric_in_use``) where networks stand on it that were made
    otherwise.
    """
    actor.require(Permission.OPERATE)
    fresh = fabric is None
    fabric = Fabric() if fabric is None else Fabric.objects.select_for_update(no_key=True).get(pk=fabric.pk)
    changes: dict[str, Any] = {
        name: [getattr(fabric, name), to] for name, to in fields.items() if getattr(fabric, name) != to
    }
    if not fresh and set(KEPT) & set(changes) and fabric_is_used(fabric):
        raise Conflict(
            _("Networks stand on this fabric, which were made with what is to be changed."),
            code="fabric_in_use",
            hint=_("Its addresses, its key and its name can be changed; the rest only while no network is on it."),
        )
    for name, value in fields.items():
        setattr(fabric, name, value)
    errors = fabric_errors(fabric)
    try:
        fabric.full_clean(validate_constraints=not errors)
    except ValidationError as error:
        told = {fault.pointer for fault in errors}
        errors += [
            FieldError(f"/{name}", "invalid", messages[0])
            for name, messages in error.message_dict.items()
            if f"/{name}" not in told
        ]
    if errors:
        raise Invalid(errors=errors)
    fabric.version += 0 if fresh or not changes else 1
    fabric.save()
    audit_record(actor, "fabric.create" if fresh else "fabric.edit", fabric, **(dict(fields) if fresh else changes))
    return fabric, fabric_test(fabric, actor=actor)


def fabric_errors(fabric: Fabric) -> list[FieldError]:
    """Everything that is wrong with a fabric in itself."""
    errors = []
    for pointer, remote in (("/northbound", fabric.northbound), ("/southbound", fabric.southbound)):
        if len(remote) > 255 or not remote or not all(REMOTE.match(each) for each in remote.split(",")):
            message = _("Use addresses such as ssl:192.0.2.1:6641, several apart by commas.")
            errors.append(FieldError(pointer, "invalid_address", message))
    needs_key = any(each.startswith("ssl:") for each in (fabric.northbound, fabric.southbound))
    if (fabric.pki or needs_key) and (not FOLDER.match(fabric.pki) or ".." in fabric.pki):
        message = _("Name the folder with clientkey.pem, clientcert.pem and cacert.pem by an absolute path.")
        errors.append(FieldError("/pki", "invalid_path", message))
    if not 1280 <= fabric.mtu <= 8942:
        errors.append(FieldError("/mtu", "invalid_mtu", _("Between 1,280 and 8,942 bytes.")))
    if len(fabric.resolvers) > LISTED_MAX or not all(_address(each) for each in fabric.resolvers):
        errors.append(FieldError("/resolvers", "invalid_address", _("IPv4 addresses, at most eight.")))
    return errors + _outside_errors(fabric)


def _outside_errors(fabric: Fabric) -> list[FieldError]:
    if not (fabric.physnet or fabric.outer_address or fabric.outer_gateway or fabric.carriers):
        return []
    errors = []
    if not WORD.match(fabric.physnet):
        errors.append(FieldError("/physnet", "invalid_name", _("Name it as the hosts' ovn-bridge-mappings do.")))
    try:
        outer = IPv4Interface(fabric.outer_address)
        within = outer.network.prefixlen < 31 and "/" in fabric.outer_address
    except ValueError:
        within = False
    if not within:
        message = _("An IPv4 address with the length of its range, such as 192.0.2.5/24.")
        errors.append(FieldError("/outer_address", "invalid_address", message))
    elif not _address(fabric.outer_gateway) or IPv4Address(fabric.outer_gateway) not in outer.network:
        errors.append(FieldError("/outer_gateway", "invalid_address", _("An IPv4 address in the same range.")))
    names = fabric.carriers
    if not names or len(names) > LISTED_MAX or len(set(names)) < len(names) or not all(map(WORD.match, names)):
        message = _("One to eight hosts, each once, by their names in OVN.")
        errors.append(FieldError("/carriers", "invalid_name", message))
    return errors


def _address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


@transaction.atomic
def fabric_test(fabric: Fabric, *, actor: Actor) -> Operation:
    """Have a worker ask it what it is and which hosts are in it; one test at a time."""
    actor.require(Permission.OPERATE)
    running = Operation.objects.filter(kind=KIND, subject_id=fabric.pk, status__in=LIVE).first()
    if running is not None:
        return running
    return operation_submit(fabric, kind=KIND, actor=actor, holds=[Hold(KIND, fabric.pk)])


def fabric_settle_probe(operation: Operation) -> None:
    """A test that failed leaves its reason on the fabric's page."""
    if operation.status != "succeeded":
        problem = operation.error_detail or operation.error_message
        Fabric.objects.filter(pk=operation.subject_id).update(problem=problem)


def fabric_of_tested(host: Host) -> None:
    """A host was tested whose pool has a fabric: is it in that? Runs in the caller's transaction."""
    fabric = host.pool.fabric
    if fabric is not None:
        fabric_test(fabric, actor=system_actor(None, why="probe"))


def fabric_record_probe(
    fabric: Fabric, *, facts: dict[str, Any], notes: Sequence[str], joined: Sequence[Host], offload: bool
) -> None:
    """What the test found; the network speed of machines on its hosts is not limited from then on, which their pages say."""
    ids = sorted(str(host.pk) for host in joined)
    Fabric.objects.filter(pk=fabric.pk).update(
        facts=facts, notes=list(notes), joined=ids, offload=offload, problem="", seen_at=now()
    )


def fabric_record_heard(fabric: Fabric, *, at: datetime) -> None:
    """It answered a sweep."""
    Fabric.objects.filter(pk=fabric.pk).update(seen_at=at, problem="")


def fabric_record_silent(fabric: Fabric, detail: str) -> None:
    """It did not answer; what it carries goes on as it last was."""
    Fabric.objects.filter(pk=fabric.pk).update(problem=detail)


def pool_fabric_check(pool: HostPool, fabric: Fabric | None) -> None:
    """Raise ``Conflict`` (``pool_in_use``) where the pool's hosts have machines or networks: those are on what it has now.

    Locks the hosts, so that none comes meanwhile.
    """
    if pool.fabric_id == (fabric.pk if fabric else None) or pool._state.adding:
        return
    hosts = list(Host.objects.select_for_update().filter(pool=pool).order_by("pk"))
    with every_tenant(why="a pool's hosts carry machines of many tenants"):
        used = Guest.objects.filter(host__in=hosts).exists() or NetworkOnHost.objects.filter(host__in=hosts).exists()
    if used:
        raise Conflict(
            _("Machines are on this pool's hosts, whose networks would not follow."),
            code="pool_in_use",
            hint=_("Use another pool for the fabric."),
        )

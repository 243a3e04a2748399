"""Testing a fabric: can it be told of networks, does it carry them out, and which hosts are in it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.hypervisor.errors import FabricSilent, Refused
from vms.hypervisor.ovn.wire import Chassis, Northbound, chassis, northbound
from vms.models import Fabric, Host
from vms.services.fabrics import fabric_record_probe

OLDEST: Final = (23, 3)
"""The first OVN of which all that is used of it is known to work."""
TRANSLATED_S: Final = 30.0


@handles("fabric.probe")
def probe(run: Run) -> None:
    """Connect, see that rows can be given ids and that northd follows; everything found stands on the fabric's page."""
    fabric = Fabric.objects.filter(pk=run.operation.subject_id).first()
    if fabric is None:
        return
    try:
        run.say(_("Asking what it is"), 10)
        line = northbound(fabric.northbound, fabric.pki)
        if not line.takes_chosen_ids():
            raise _unfit(_("Its database is older than Open vSwitch 3.1: rows cannot be given their ids."))
        version = _version(run, line)
        run.say(_("Asking which hosts are in it"), 60)
        seen = chassis(fabric.southbound, fabric.pki)
    except FabricSilent as error:
        raise Conflict(
            _("The fabric does not answer."),
            code="fabric_unreachable",
            hint=_("Check its addresses, its key, and that this machine may connect."),
            detail=error.detail,
        ) from error
    except Refused as error:
        raise _unfit(error.detail) from error
    hosts = list(Host.objects.filter(pool__fabric=fabric).order_by("name"))
    joined = [host for host in hosts if any(_is(host, one) for one in seen)]
    in_kernel = [one for one in seen if one.in_kernel]
    fabric_record_probe(
        fabric,
        facts={"northd": version, "chassis": [asdict(one) for one in seen]},
        notes=list(_notes(fabric, hosts, joined, seen)),
        joined=joined,
        offload=len(in_kernel) == len(seen),
    )


def _version(run: Run, line: Northbound) -> str:
    version = line.northd()
    numbers = version.split("-")[0].split(".")
    if not version or not all(each.isdigit() for each in numbers[:2]):
        raise _unfit(_("No northd has ever worked on its database."))
    if tuple(map(int, numbers[:2])) < OLDEST:
        raise _unfit(_("Its northd is version %s; 23.03 is needed.") % version)
    run.say(_("Waiting for its northd"), 30)
    with run.effect("translate"):
        follows = line.translated(timeout_s=TRANSLATED_S)
    if not follows:
        raise _unfit(_("Its northd did not follow a change within %d seconds.") % TRANSLATED_S)
    return version


def _unfit(detail: str) -> Conflict:
    return Conflict(_("The fabric cannot be used."), code="fabric_unfit", hint=_("The detail says why."), detail=detail)


def _is(host: Host, one: Chassis) -> bool:
    """Is that the host's part? It is called as the host is here, or as the host calls itself."""
    names = {host.name, str(host.facts.get("hostname") or host.name)}
    return one.name in names or one.hostname in names


def _notes(fabric: Fabric, hosts: Iterable[Host], joined: Sequence[Host], seen: Sequence[Chassis]) -> Iterable[str]:
    for host in hosts:
        if host not in joined:
            yield _("%s is not in it: no machine with a network card is put there.") % host
    for name in fabric.carriers:
        if name not in {one.name for one in seen}:
            yield _("%s, which may carry the way out, is not in it.") % name
    if not fabric.physnet:
        yield _("It has no way out: only isolated networks can be made on it.")
    if not all(one.in_kernel for one in seen):
        yield _("Some hosts switch in user space: machines compute checksums themselves, and are slower.")

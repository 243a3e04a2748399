"""Testing a host (can we talk to it, what is it, what can it not do), and clearing it of what should be gone."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.handlers.place import connect, host_words
from vms.hypervisor.errors import Unreachable
from vms.models import Host
from vms.names import pool_name
from vms.selectors.installation import installation_owner
from vms.services.hosts import host_record_facts, host_record_pool, host_record_probe
from vms.services.leftovers import was_purged


@handles("host.probe")
def probe(run: Run) -> None:
    """Connect, read facts, make our pool, start a throw-away guest; everything found stands on the host's page."""
    host = Host.objects.filter(pk=run.operation.subject_id).first()
    if host is None:
        return
    owner = installation_owner()
    try:
        hv = connect(host)
    except Unreachable as error:
        raise Conflict(
            _("The host does not answer."),
            code="host_unreachable",
            hint=_("Check the address, that libvirtd runs there, and that this machine may connect."),
            detail=error.detail,
        ) from error
    with host_words(host):
        run.say(_("Reading what it is"), 10)
        facts = hv.facts()
        host_record_facts(host, facts=asdict(facts), cpus=facts.cpus, memory_mib=facts.memory_mib)
        run.say(_("Preparing its storage"), 30)
        row = host.storage_pools.get(name=pool_name(owner))
        with run.effect("pool"):
            seen = hv.ensure_pool(row.name, row.path)
        host_record_pool(row, capacity=seen.capacity, allocation=seen.allocation, available=seen.available)
        run.say(_("Starting a machine for a moment"), 50)
        with run.effect("trial"):
            result = hv.probe(owner=owner)
        host_record_probe(
            host,
            accelerated=result.accelerated,
            traits=result.traits,
            unenforced=result.unenforced,
            notes=result.notes,
        )


@handles("host.clear")
def clear(run: Run) -> None:
    """Undefine a machine that was removed for good and is there again; the host refuses where it runs or is not ours."""
    host = Host.objects.get(pk=run.operation.subject_id)
    guest = UUID(run.params["guest"])
    if not was_purged(guest, host, generation=run.params["generation"]):
        raise Conflict(_("Nobody has removed this machine."), code="not_purged", hint="")
    with host_words(host):
        hv = connect(host)
        with run.effect("undefine"):
            hv.undefine(str(guest), owner=installation_owner())

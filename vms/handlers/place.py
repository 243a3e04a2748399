"""Getting to a guest's host: rows, connection, and the host's troubles in the customer's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.runner import Retry, Run
from portal.core.errors import Broken, Conflict
from vms.engines import engine_at
from vms.hypervisor import errors, pool
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.engines import NetworkEngine
from vms.models import Guest, Host
from vms.names import Owner
from vms.reconcile.converge import Place
from vms.selectors.installation import installation_owner
from vms.services.hosts import host_record_heartbeat


class There(Protocol):
    """Somewhere work is done: a host, the connection to it, and who we are there."""

    @property
    def host(self) -> Host: ...
    @property
    def hv(self) -> Hypervisor: ...
    @property
    def owner(self) -> Owner: ...


class Wired(There, Protocol):
    """Somewhere that is about packets, too."""

    @property
    def net(self) -> NetworkEngine: ...


@contextmanager
def host_words(host: Host) -> Iterator[None]:
    """Turn what a host says into a retry or a refusal: no answer is tried again, everything else ends the operation."""
    try:
        yield
    except errors.FabricSilent as error:
        raise Retry(
            _("Waiting for the network fabric"), detail=f"{host.name}: {error.detail}", close_lane=False
        ) from error
    except errors.Unreachable as error:
        pool.drop(host.uri)
        raise Retry(_("Waiting for the host"), detail=f"{host.name}: {error.detail}") from error
    except errors.StorageFull as error:
        raise Conflict(
            _("The storage of the host is full."),
            code="storage_full",
            hint=_("Try again later; the operator has been told."),
            detail=error.detail,
        ) from error
    except errors.Busy as error:
        raise Conflict(
            _("The host is busy with this machine and did not get to it."),
            code="host_busy",
            hint=_("Try again in a minute."),
            detail=error.detail,
        ) from error
    except errors.Unsupported as error:
        raise Conflict(
            _("The host cannot do this (%(feature)s)."),
            code="unsupported",
            hint=_("Ask the operator."),
            feature=error.feature or "?",
            detail=error.detail,
        ) from error
    except errors.AgentSilent as error:
        raise Conflict(
            _("The machine's agent did not do this."),
            code="agent_silent",
            hint=_("The agent (qemu-guest-agent) must run inside it. Its console and rescue mode need none."),
            detail=error.detail,
        ) from error
    except errors.Missing as error:
        raise Conflict(
            _("A part of this machine is not on its host."),
            code="missing_on_host",
            hint=_("Nothing was changed. Ask the operator."),
            detail=error.detail,
        ) from error
    except errors.HypervisorError as error:
        raise HostRefused(detail=error.detail) from error


class HostRefused(Broken):
    """The host said no to something we asked; what it said is for operators."""

    code = "host_refused"
    message = gettext_lazy("The host refused to do this.")
    hint = gettext_lazy("Nothing was left behind. The operator can read why.")


def connect(host: Host) -> Hypervisor:
    """This process's connection to a host; that it answers is a heartbeat too."""
    hv = pool.get(host.uri)
    host_record_heartbeat(host)
    return hv


def guest_of(run: Run) -> Guest:
    """The operation's guest, if the operation is still the newest wish for it; raises ``Conflict`` (``overtaken``) otherwise."""
    guest = (
        Guest.objects.select_related("host", "host__pool", "image", "drivers", "flavor", "next_flavor", "tenant")
        .filter(pk=run.operation.subject_id)
        .first()
    )
    if guest is None or guest.host is None:
        raise Conflict(_("The machine is gone."), code="gone", hint="")
    if guest.want_generation != run.operation.generation:
        raise Conflict(_("Something newer was asked of this machine."), code="overtaken", hint="")
    return guest


@contextmanager
def at(run: Run) -> Iterator[Place]:
    """The operation's guest on its host, connected, with the host's troubles translated."""
    guest = guest_of(run)
    assert guest.host is not None
    with host_words(guest.host):
        run.check()
        yield Place(guest, guest.host, connect(guest.host), installation_owner())


@dataclass(frozen=True, slots=True)
class Spot:
    """A host that work is done on, whoever's machines are there."""

    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def net(self) -> NetworkEngine:
        """What carries the packets there."""
        return engine_at(self.host, self.hv, self.owner)


@contextmanager
def over_there(host: Host) -> Iterator[Spot]:
    """A host, connected, with its troubles translated."""
    with host_words(host):
        yield Spot(host, connect(host), installation_owner())

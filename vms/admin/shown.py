"""How the product's states look on the operators' site: a shape, and always its word."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from portal.admin_shown import state
from vms.models import Drift, Guest, Host
from vms.placement import Lack
from vms.states import GuestStatus, HostState

HOST_WORDS: dict[str, tuple[str, str | Promise]] = {
    HostState.UP: ("running", _("Up")),
    HostState.SUSPECT: ("unknown", _("Late")),
    HostState.DOWN: ("unknown", _("Silent")),
}
GUEST_WORDS: dict[str, str | Promise] = {
    GuestStatus.BUILDING: _("Building"),
    GuestStatus.RUNNING: _("Running"),
    GuestStatus.STOPPED: _("Stopped"),
    GuestStatus.PAUSED: _("Paused"),
    GuestStatus.SUSPENDED: _("Suspended"),
    GuestStatus.MIGRATING: _("Moving"),
    GuestStatus.DELETING: _("Deleting"),
    GuestStatus.BINNED: _("In the bin"),
    GuestStatus.ERROR: _("Error"),
    GuestStatus.UNKNOWN: _("Unknown"),
}
LIMITS: dict[str, str | Promise] = {
    "bandwidth": _("Network speed is not limited: a machine can fill the host's link."),
    "cputune": _("Processor time is not limited: a machine can use whole cores."),
    "groups": _(
        "Security groups do not hold: everybody inside a network reaches its machines. It takes no new machines."
    ),
    "iotune": _("Disk speed is not limited: a machine can slow the disks of the others."),
    "memtune": _("Memory is not limited beyond the machine's own size."),
    "nwfilter": _("Machines are not kept from pretending to be others (MAC, IP, ARP, DHCP)."),
}
"""What it means where a host cannot enforce a limit."""

DRIFT: dict[str, str | Promise] = {
    "stray_domain": _("A machine of ours that nobody knows"),
    "missing_domain": _("A machine is not on its host"),
    "binned_but_defined": _("A machine from the bin still stands on its host"),
    "other_power": _("A machine is not as it was wanted"),
    "other_epoch": _("A machine of a former portal"),
    "missing_volume": _("A disk is not in its pool"),
    "small_volume": _("A disk is smaller than it should be"),
    "stray_volume": _("A disk nobody owns"),
    "stray_network": _("A network nobody owns"),
    "missing_network": _("A network is not on its host"),
    "other_network": _("A network of a fabric is not as it was wanted"),
    "missing_card": _("A network card has no place in its fabric"),
    "other_speed": _("A network card is faster or slower than it was wanted"),
    "other_filter": _("A packet filter is not as it was wanted"),
}
"""What the sweep calls what it finds, in words."""


LACKS: dict[Lack, str | Promise] = {
    "": _("Takes it"),
    "disabled": _("Out of service"),
    "maintenance": _("In maintenance"),
    "silent": _("Does not answer"),
    "set_aside": _("Set aside, here or elsewhere"),
    "label": _("Has not what it needs"),
    "untested": _("Was not tested for UEFI, Secure Boot and TPM yet"),
    "uefi": _("Has no UEFI firmware"),
    "secure_boot": _("Has no UEFI firmware with Secure Boot"),
    "tpm": _("Has no TPM for machines"),
    "storage_class": _("Has no storage of its class"),
    "apart": _("Has one of its group"),
    "together": _("Has none of its group"),
    "unguarded": _("Security groups do not hold there"),
    "unwired": _("Is not in its pool's fabric, or that is out of service"),
    "no_way_out": _("Its fabric leads nowhere outwards"),
    "too_few_cpus": _("Has too few processors"),
    "cpu": _("Its processors are sold"),
    "memory": _("Its memory is sold"),
    "disk": _("Its disks are full"),
    "reserve": _("What is left is kept for hosts that fail"),
}
"""What a host lacks for a machine, in words."""


def lack_words(lack: Lack) -> SafeString:
    """A shape and its word: this host takes it, or why not."""
    return state("stopped" if lack else "running", LACKS[lack])


def words_of(text: str) -> list[str]:
    """Words apart by spaces or commas, each once, sorted."""
    return sorted(set(text.replace(",", " ").split()))


def host_state(host: Host) -> SafeString:
    """Up, late, silent; maintenance and out of service come first."""
    if not host.enabled:
        return state("stopped", _("Out of service"))
    if host.maintenance and host.state == HostState.UP:
        return state("paused", _("Maintenance"))
    return state(*HOST_WORDS.get(host.state, ("unknown", host.state)))


def guest_state(guest: Guest, live_kind: str = "") -> SafeString:
    """The word a customer sees."""
    status = guest.status(live_kind)
    return state("deleting" if status == GuestStatus.BINNED else status.value, GUEST_WORDS[status])


def listed(items: list[object]) -> SafeString | str:
    """One a line; a dash for none."""
    if not items:
        return "–"
    return format_html('<ul class="gh-plain">{}</ul>', format_html_join("", "<li>{}</li>", ((item,) for item in items)))


def drift_words(drift: Drift) -> str:
    """What was found, in words; the bare kind where there are none yet."""
    return str(DRIFT.get(drift.kind, drift.kind.replace("_", " ")))

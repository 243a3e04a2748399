"""Where the product looks at all tenants at once: each place listed here with its reason, so that a new one is seen."""

from __future__ import annotations

import ast

from tests.architecture.sources import calls, modules

PLACES: dict[str, list[str]] = {
    "billing/management/commands/verify_usage.py": ["an operator at the command line"],
    "billing/services/hours.py": ["usage of all tenants is closed alike"],
    "billing/services/statements.py": ["months of all tenants are billed"],
    "operations/runner.py": ["an operation on shared things"],
    "operations/services/ending.py": ["an operation on shared things ends"],
    "operations/tasks.py": ["retention"],
    "portal/probes.py": ["metrics count all tenants"],
    "tenants/listings.py": ["a person's own memberships"],
    "tenants/management/commands/create_token.py": ["an operator at the command line"],
    "tenants/middleware.py": ["operators' REST", "the operators' site"],
    "tenants/services/ending.py": ["the last things of a tenant that ends"],
    "tenants/services/invitations.py": [
        "an invitation comes before its tenant",
        "an invitation comes before its tenant",
        "retention of invitations",
    ],
    "tenants/services/second_factor.py": ["one person's memberships, to close what they have open"],
    "tenants/services/quota/verify.py": ["counters of all tenants are recounted"],
    "tenants/services/tenants/standing.py": [
        "a tenant's standing reaches those below it",
        "a tenant's standing was that of those below it",
    ],
    "tenants/services/visits.py": ["a session is on one visit at a time", "visits end in time, in whichever tenant"],
    "vms/management/commands/build_image.py": ["an operator at the command line"],
    "vms/management/commands/enrol_host.py": ["an operator at the command line"],
    "vms/management/commands/import_image.py": ["an operator at the command line"],
    "vms/management/commands/seed.py": ["seeding an empty installation"],
    "vms/management/commands/setup.py": ["an operator at the command line"],
    "vms/management/commands/stray_images.py": ["an operator at the command line"],
    "vms/reconcile/audit.py": ["the audit looks at everything"],
    "vms/reconcile/sample.py": ["a host carries guests of many tenants"],
    "vms/reconcile/watch.py": ["a host carries guests of many tenants"],
    "vms/selectors/fabrics.py": ["a fabric carries networks of many tenants"],
    "vms/selectors/rooms.py": ["a host's room is shared by all tenants"],
    "vms/selectors/fleet.py": ["operators look at the whole installation"],
    "vms/services/fabrics.py": ["a pool's hosts carry machines of many tenants"],
    "vms/services/guests/stopping.py": ["machines of every tenant wait for their host"],
    "vms/services/disk_exports/ask.py": ["exported disks of all share the portal's storage"],
    "vms/services/guests/observe.py": [
        "a host's guests are of many tenants",
        "observations come from hosts, not from tenants",
    ],
    "vms/services/guests/going_along.py": ["a host carries machines of every tenant"],
    "vms/services/guests/lease.py": ["leases of every tenant end"],
    "vms/services/guests/recovering.py": ["machines of every tenant may crash"],
    "vms/services/guests/returning.py": ["machines of every tenant were lost with their host"],
    "vms/services/image_copies.py": ["projects below may use a shared image"],
    "vms/services/images.py": ["projects below may use a shared image"],
    "vms/services/metrics.py": ["retention", "what all machines used is summed alike"],
    "vms/services/address_uses.py": ["an address may have been another tenant's before"],
    "vms/services/ranges.py": ["ranges must not overlap between tenants"],
    "vms/services/backups/slots.py": [
        "backup schedules of every tenant are due",
        "turns of backup schedules are due",
        "turns of backup schedules have ended",
    ],
    "vms/services/power_schedules.py": ["schedules of every tenant are due"],
    "vms/services/snapshots/tidy.py": ["every tenant's passing snapshots"],
    "vms/tasks.py": [
        "a host carries guests of many tenants",
        "every tenant's bin is emptied",
        "every tenant's exported disks",
        "every tenant's uploads, and the hosts' copies of images",
    ],
}


def reasons() -> dict[str, list[str]]:
    """Reasons by file; a reason must be written where it is given."""
    found: dict[str, list[str]] = {}
    for path, tree in modules().items():
        for call in calls(tree):
            if isinstance(call.func, ast.Name) and call.func.id == "every_tenant":
                (why,) = [keyword.value for keyword in call.keywords if keyword.arg == "why"]
                assert isinstance(why, ast.Constant), f"{path}:{call.lineno}: say why in words"
                assert isinstance(why.value, str)
                assert len(why.value) > 5, f"{path}:{call.lineno}: say why"
                found.setdefault(path, []).append(why.value)
    return {path: sorted(whys) for path, whys in sorted(found.items())}


def test_every_place_that_sees_all_tenants_is_known() -> None:
    assert reasons() == PLACES


def test_no_page_form_or_endpoint_sees_all_tenants() -> None:
    assert [path for path in reasons() if any(room in path for room in ("/views/", "/api/", "/forms"))] == []

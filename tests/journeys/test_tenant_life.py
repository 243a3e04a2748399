"""A reseller is suspended and taken up again, closed, and gone, with its customer: on the whole product, with real machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.journeys.customer import Customer, heard
from tests.journeys.test_create_guest import on_host
from tests.journeys.test_two_tenants import drain
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from tests.setup.test_up import Portal

STOPPED_S = 180
GONE_S = 180


@dataclass
class Line:
    """A reseller, its customer, and a machine of each that runs; ``spare`` is one of the customer's that does not."""

    agency: Customer
    branch: Customer
    machines: dict[str, str]
    spare: str
    before: dict[str, set[str]]

    @property
    def everybody(self) -> list[Customer]:
        return [self.agency, self.branch]


@pytest.fixture(scope="module")
def line(portal: Portal, operator: Customer, lab_host: Host) -> Iterator[Line]:
    made = portal.manage("create_tenant", "agency", "--owner", "agent@example.test")
    assert made.returncode == 0, made.stderr
    _slug, email, password = made.stdout.split()
    person = {"email": email, "password": password, "token": portal.manage("create_token", email).stdout.strip()}
    below = operator.http.post("/tenants", json={"slug": "branch", "name": "Branch", "parent": "agency"})
    assert below.status_code == 201, below.text
    joined = operator.http.post("/tenants/branch/members", json={"email": email, "role": "owner"})
    assert joined.status_code == 201, joined.text
    tested = {"kind": "host.probe", "status": "succeeded"}
    wait_until(
        lambda: operator.http.get("/operations", params=tested).json()["items"], timeout_s=120, what="the host's test"
    )
    before = on_host(lab_host)
    url = portal.first_run["url"]
    with Customer(url, "agency", person) as agency, Customer(url, "branch", person) as branch:
        machines = {who.slug: who.create("works")["id"] for who in (agency, branch)}
        spare = branch.create("spare", start=False)["id"]
        old = branch.create("old", start=False)["id"]
        branch.done(branch.delete(f"/guests/{old}"))
        yield Line(agency, branch, machines, spare, before)


def python(portal: Portal, code: str) -> str:
    """What a line of Python says inside of the portal."""
    done = portal.manage("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def suspend(operator: Customer, slug: str, guests: str) -> None:
    answer = operator.http.post(f"/tenants/{slug}/suspend", json={"reason": "unpaid", "guests": guests})
    assert answer.status_code == 200, answer.text


def refused(answer: Any) -> str:
    assert answer.status_code == 403, answer.text
    return str(answer.json()["code"])


def asked_of(portal: Portal, slug: str) -> list[str]:
    """Kinds of operations that the portal itself has asked for."""
    code = (
        "from operations.models import Operation; "
        f"print(*Operation.objects.filter(tenant__slug='{slug}', requested_by=None).values_list('kind', flat=True))"
    )
    return python(portal, code).split()


def test_a_suspension_that_keeps_machines_closes_everything_else(
    line: Line, portal: Portal, operator: Customer, lab_host: Host
) -> None:
    """P-A7, P-C9: of the tenant below, too; what beat does for a tenant waits with its people."""
    branch, machine = line.branch, line.machines["branch"]
    python(portal, "from vms.models import Guest; from django.utils.timezone import now; "
           "Guest._base_manager.filter(name='old').update(purge_after=now())")  # fmt: skip
    with branch.sign_in() as browser, branch.events(browser) as events, branch.console(machine, "vnc") as screen:
        assert heard(events, timeout_s=60)["type"] == "hello"
        assert screen.recv(timeout=60)

        suspend(operator, "agency", "keep")

        with pytest.raises(ConnectionClosed):
            drain(screen, quiet_s=2)
        assert heard(events, timeout_s=2)["type"] == "tenant.changed", "who may read is told"
    assert refused(branch.post(f"/guests/{line.spare}/start")) == "tenant_suspended"
    assert refused(branch.post(f"/guests/{machine}/console", {"kind": "serial"})) == "tenant_suspended"
    assert refused(branch.delete(f"/guests/{machine}")) == "tenant_suspended"
    assert branch.get("/guests").status_code == 200
    python(portal, "from vms.tasks import empty_bins, halt_guests; empty_bins(); halt_guests()")
    for who in line.everybody:
        assert asked_of(portal, who.slug) == []
        assert lab_host.virsh("domstate", line.machines[who.slug]) == "running"


def test_a_suspension_that_stops_machines_stops_those_below(line: Line, operator: Customer, lab_host: Host) -> None:
    suspend(operator, "agency", "stop")

    for who in line.everybody:
        who.sees(line.machines[who.slug], "stopped", within_s=STOPPED_S)
        assert lab_host.virsh("domstate", line.machines[who.slug]) == "shut off"
        assert refused(who.post(f"/guests/{line.machines[who.slug]}/start")) == "tenant_suspended"


def test_taken_up_again_they_are_started_again(line: Line, operator: Customer, lab_host: Host) -> None:
    assert operator.http.post("/tenants/agency/unsuspend").status_code == 200

    for who in line.everybody:
        assert lab_host.virsh("domstate", line.machines[who.slug]) == "shut off", "nobody asked for it"
        who.act(line.machines[who.slug], "start")
        assert lab_host.virsh("domstate", line.machines[who.slug]) == "running"


def test_closed_and_past_the_grace_nothing_is_left(
    line: Line, portal: Portal, operator: Customer, lab_host: Host
) -> None:
    for who in reversed(line.everybody):
        answer = who.post("/close", {"confirm": who.slug})
        assert answer.json()["state"] == "closing", answer.text
        who.sees(line.machines[who.slug], "stopped", within_s=STOPPED_S)

    python(portal, "from tenants.models import Tenant; from django.utils.timezone import now; "
           "Tenant.objects.filter(state='closing').update(purge_after=now())")  # fmt: skip

    def gone() -> bool:
        python(portal, "from portal.celery import app; app.send_task('tenants.tasks.purge_tenants')")
        return operator.http.get("/tenants/agency").status_code == 404

    wait_until(gone, timeout_s=GONE_S, what="the reseller's end", every_s=2)
    assert line.branch.get("").status_code == 404
    assert on_host(lab_host) == line.before
    for command in ("audit", "verify_audit_log"):
        done = portal.manage(command)
        assert done.returncode == 0, done.stderr

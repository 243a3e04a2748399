"""Two tenants on one host: neither their machines nor their people see or reach each other, nor the host's services.

P-H1, P-H4, P-C2. The filter itself is attacked frame by frame in ``tests/vms/hypervisor``; here it is a customer with root.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.journeys.customer import BOOT_S, Customer, Line, heard
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from tests.setup.test_installation import free_port
from tests.setup.test_up import Portal

PASSWORD = "let me in"


@dataclass
class Side:
    """A tenant, its machine, and a root shell inside."""

    customer: Customer
    pk: str
    line: Line

    @property
    def ip(self) -> str:
        return str(self.customer.guest(self.pk)["addresses"][0]["ip"])

    @property
    def gateway(self) -> str:
        return self.ip.rsplit(".", 1)[0] + ".1"

    def pings(self, address: str, *options: str) -> bool:
        return self.says(f"ping -c 2 -W 2 {' '.join(options)} {address} >/dev/null 2>&1")

    def connects(self, address: str, port: int) -> bool:
        return self.says(f"nc -w 3 {address} {port} -e true >/dev/null 2>&1")

    def says(self, command: str) -> bool:
        """Does the command succeed inside? The shell answers either way, so that no answer is never taken for a no."""
        answer = self.line.ask(f"{command} && echo y''es || echo n''o", timeout_s=60).rsplit(maxsplit=1)[-1]
        assert answer in ("yes", "no"), answer
        return answer == "yes"


@pytest.fixture(scope="module")
def other(portal: Portal) -> Iterator[Customer]:
    """The owner of a second tenant, made at the command line."""
    made = portal.manage("create_tenant", "rival", "--owner", "rival@example.test")
    assert made.returncode == 0, made.stderr
    token = portal.manage("create_token", "rival@example.test")
    assert token.returncode == 0, token.stderr
    _slug, email, password = made.stdout.split()
    person = {"email": email, "password": password, "token": token.stdout.strip()}
    with Customer(portal.first_run["url"], "rival", person) as somebody:
        yield somebody


@pytest.fixture(scope="module")
def sides(customer: Customer, other: Customer) -> Iterator[tuple[Side, Side]]:
    """A machine of each, booting side by side, with root logged in on their serial lines."""
    wish = {"flavor": "tiny", "password": PASSWORD}
    people = (customer, other)
    answers = [who.post("/guests", {"name": "fort", "image": who.image(), **wish}) for who in people]
    pks = [who.done(answer)["subject"]["id"] for who, answer in zip(people, answers, strict=True)]
    with ExitStack() as stack:
        sides = []
        for who, pk in zip(people, pks, strict=True):
            line = stack.enter_context(who.serial(pk))
            line.log_in("root", PASSWORD, timeout_s=BOOT_S)
            line.ask("stty cols 400; dmesg -n 1")  # a longer line would be broken by the shell's own editor
            sides.append(Side(who, pk, line))
        for side in sides:
            wait_until(lambda s=side: s.ip in s.line.ask("ip -4 addr"), timeout_s=60, what="its address by DHCP")
        yield sides[0], sides[1]
    for who, pk in zip(people, pks, strict=True):
        who.done(who.delete(f"/guests/{pk}", purge="true"))


def answers(host: Host, address: str, port: int) -> bool:
    """Can the host itself connect to ``address``?"""
    dial = f"import socket; socket.create_connection(({address!r}, {port}), 3)"
    return host.exec("python3", "-c", dial, check=False).returncode == 0


def resolves(host: Host, address: str) -> bool:
    """Does somebody answer the host's ARP request for ``address``? (TCP to the host is not for guests, answers neither.)"""
    answers(host, address, 22)
    return "lladdr" in host.exec("ip", "neigh", "show", address).stdout


# --- what works, so that what does not means something --------------------------------------------------------------
def test_dhcp_dns_and_the_own_gateway_answer(sides: tuple[Side, Side]) -> None:
    mine, _theirs = sides

    assert mine.pings(mine.gateway)
    assert f"nameserver {mine.gateway}" in mine.line.ask("cat /etc/resolv.conf")
    assert mine.connects(mine.gateway, 53)


def test_each_machine_listens_and_its_host_knows_it(sides: tuple[Side, Side], lab_host: Host) -> None:
    for side in sides:
        assert side.connects(side.ip, 22), "its own sshd"
        assert resolves(lab_host, side.ip)


# --- what must not --------------------------------------------------------------------------------------------------
def test_a_machine_cannot_reach_another_tenants(sides: tuple[Side, Side]) -> None:
    for mine, theirs in (sides, sides[::-1]):
        assert mine.ip.rsplit(".", 1)[0] != theirs.ip.rsplit(".", 1)[0]
        assert not mine.pings(theirs.ip)
        assert not mine.connects(theirs.ip, 22)
        assert not mine.pings(theirs.gateway)
        assert not mine.connects(theirs.gateway, 53)


@pytest.fixture
def services(lab_host: Host) -> Iterator[dict[str, int]]:
    """Something that listens everywhere on the host, and something on the machine that the portal runs on."""
    port = free_port()
    listener = subprocess.Popen(
        lab_host.inside("python3", "-m", "http.server", str(port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with socket.create_server((lab_host.lab.controller_address, 0)) as controller:
        yield {lab_host.address: port, lab_host.lab.controller_address: controller.getsockname()[1]}
    listener.kill()
    listener.wait()


def test_a_machine_cannot_reach_the_hosts_services(
    sides: tuple[Side, Side], services: dict[str, int], lab_host: Host
) -> None:
    mine, _theirs = sides
    own_port = services[lab_host.address]

    for address, port in {**services, mine.gateway: own_port}.items():
        wait_until(
            lambda a=address, p=port: answers(lab_host, a, p), timeout_s=60, what=f"{address}:{port} answers the host"
        )
        reached = [number for number in (port, 22, 16509) if mine.connects(address, number)]
        assert reached == [], address
    assert not any(mine.pings(address) for address in services)


def test_a_route_past_the_gateway_changes_nothing(sides: tuple[Side, Side], lab_host: Host) -> None:
    mine, theirs = sides
    for target in (theirs.ip, theirs.gateway, lab_host.address):
        mine.line.ask(f"ip route add {target} dev eth0")
        assert not mine.pings(target)
        mine.line.ask(f"ip route del {target}; ip route add {target} via {mine.gateway}")
        assert not mine.pings(target)
        mine.line.ask(f"ip route del {target}")


def test_a_forged_address_is_not_heard(sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    neighbour = mine.ip.rsplit(".", 1)[0] + ".99"

    for forged in (neighbour, theirs.ip, mine.gateway):
        mine.line.ask(f"ip addr add {forged}/32 dev eth0")
        assert not mine.pings(mine.gateway if forged != mine.gateway else "1.1.1.1", "-I", forged), forged
        mine.line.ask(f"ip addr del {forged}/32 dev eth0")
    assert mine.pings(mine.gateway)


def test_a_forged_mac_is_not_heard(sides: tuple[Side, Side]) -> None:
    mine, _theirs = sides
    own = re.search(r"ether ([0-9a-f:]{17})", mine.line.ask("ip link show dev eth0"))
    assert own

    def wear(mac: str) -> None:
        mine.line.ask(
            f"ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up; "
            f"ip addr add {mine.ip}/24 dev eth0; ip route add default via {mine.gateway}"
        )

    wear("52:54:00:12:34:56")
    assert not mine.pings(mine.gateway)
    wear(own[1])
    assert mine.pings(mine.gateway)


def test_a_machine_cannot_answer_arp_for_others(sides: tuple[Side, Side], lab_host: Host) -> None:
    mine, _theirs = sides
    victim = mine.ip.rsplit(".", 1)[0] + ".77"

    mine.line.ask(f"ip addr add {victim}/32 dev eth0; arping -U -c 2 -I eth0 -s {victim} {victim}; true")

    assert not resolves(lab_host, victim)
    mine.line.ask(f"ip addr del {victim}/32 dev eth0")


def test_what_a_groups_rules_stop_is_stopped_in_a_running_machine(sides: tuple[Side, Side]) -> None:
    """Pings stop with the rule that let them out and come back with it; names are answered all the while."""
    mine, theirs = sides
    (port,) = mine.customer.get("/ports", guest=mine.pk).json()["items"]
    (group,) = mine.customer.get("/security-groups", name=port["security_groups"][0]).json()["items"]
    assert group["default"]

    for rules, heard_back in (([], False), (group["rules"], True)):
        path = mine.customer.path(f"/security-groups/{group['id']}/rules")
        mine.customer.done(mine.customer.http.put(path, json={"rules": rules}))
        assert mine.pings(mine.gateway) is heard_back
        assert mine.connects(mine.gateway, 53)
        assert theirs.pings(theirs.gateway), "the other tenant's default group is another one"


def drain(connection: ClientConnection, *, quiet_s: float) -> None:
    """Read until it closes (raises) or has said nothing for ``quiet_s`` (raises ``TimeoutError``)."""
    while True:
        connection.recv(timeout=quiet_s)


# --- their people ---------------------------------------------------------------------------------------------------
def test_people_of_one_tenant_find_nothing_of_the_others(sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    pk = theirs.pk
    asked = [
        mine.customer.get(f"/guests/{pk}"),
        mine.customer.post(f"/guests/{pk}/stop"),
        mine.customer.post(f"/guests/{pk}/console", {"kind": "serial"}),
        mine.customer.delete(f"/guests/{pk}", purge="true"),
        mine.customer.get("/guests/01890000-0000-7000-8000-000000000000"),
        mine.customer.http.get(f"/tenants/{theirs.customer.slug}/guests"),
        mine.customer.http.get(f"/tenants/{theirs.customer.slug}/guests/{pk}"),
        mine.customer.http.get("/tenants/nobody/guests"),
    ]

    assert [answer.status_code for answer in asked] == [404] * len(asked)
    bodies = {json.dumps({**answer.json(), "request_id": ""}) for answer in asked}
    assert len(bodies) == 1, bodies
    assert pk not in json.dumps(mine.customer.get("/guests").json())
    assert theirs.customer.guest(pk)["status"] == "running"


def test_nobody_hears_another_tenants_events(sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    with mine.customer.sign_in() as browser:
        with mine.customer.events(browser, slug=theirs.customer.slug) as foreign, pytest.raises(ConnectionClosed):
            heard(foreign, timeout_s=60)
        with mine.customer.events(browser) as live:
            assert heard(live, timeout_s=60)["type"] == "hello"
            theirs.customer.act(theirs.pk, "pause")
            theirs.customer.act(theirs.pk, "resume")
            with pytest.raises(TimeoutError):
                heard(live, timeout_s=2)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""], ids=repr)
def test_a_page_from_elsewhere_opens_no_console(sides: tuple[Side, Side], origin: str) -> None:
    """P-A1."""
    mine, _theirs = sides
    url = mine.customer.post(f"/guests/{mine.pk}/console", {"kind": "vnc"}).json()["url"]
    given: dict[str, Any] = {"origin": Origin(origin)} if origin else {}

    with pytest.raises(InvalidStatus) as refusal:
        connect(url, open_timeout=20, **given)

    assert refusal.value.response.status_code == 403


def test_a_ticket_opens_one_console_once(sides: tuple[Side, Side]) -> None:
    mine, _theirs = sides
    url = mine.customer.post(f"/guests/{mine.pk}/console", {"kind": "vnc"}).json()["url"]

    with connect(url, origin=Origin(mine.customer.url), open_timeout=60) as first:
        assert first.recv(timeout=60)
        with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, origin=Origin(mine.customer.url)) as again:
            again.recv(timeout=60)


def test_a_suspended_tenants_consoles_close_and_its_machines_stop(sides: tuple[Side, Side], operator: Customer) -> None:
    """P-A7, P-C9; last, since it takes the rival's machine down."""
    mine, theirs = sides
    with theirs.customer.console(theirs.pk, "vnc") as screen:
        assert screen.recv(timeout=60)
        answer = operator.http.post(f"/tenants/{theirs.customer.slug}/suspend", json={"reason": "unpaid"})
        assert answer.status_code == 200, answer.text
        with pytest.raises(ConnectionClosed):
            drain(screen, quiet_s=2)

    assert theirs.customer.post(f"/guests/{theirs.pk}/start").status_code == 403
    theirs.customer.sees(theirs.pk, "stopped", within_s=120)
    assert mine.customer.guest(mine.pk)["status"] == "running"
    assert operator.http.post(f"/tenants/{theirs.customer.slug}/unsuspend").status_code == 200

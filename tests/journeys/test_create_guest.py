"""The main job, as issue 2 says it is done: plain HTTP and WebSockets, from ``first-run.json`` to nothing left behind."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.journeys.customer import BOOT_S, Customer, heard, one_frame
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from tests.setup.test_up import Portal

PASSWORD = 'pa55 word "x"'
SHOWN_WITHIN_S = 2.0
"""A change made inside of a guest, or by an operator with virsh, shows within this time."""


class Machine:
    """The guest of these journeys, and what was on the host before it."""

    def __init__(self, customer: Customer, pk: str, before: dict[str, set[str]]) -> None:
        self.customer, self.pk, self.before = customer, pk, before

    @property
    def now(self) -> dict[str, Any]:
        return self.customer.guest(self.pk)

    def switch_on(self) -> None:
        if self.now["status"] != "running":
            self.customer.act(self.pk, "start")


def on_host(host: Host) -> dict[str, set[str]]:
    """Everything that a portal can leave on a host; the images that disks stand on, and the pool, stay by intent."""
    pools = [name for name in host.virsh("pool-list", "--all", "--name").split() if name.startswith("gh-")]
    volumes = {line.split()[0] for pool in pools for line in host.virsh("vol-list", pool).splitlines() if line.strip()}
    return {
        "domains": set(host.virsh("list", "--all", "--name").split()),
        "networks": set(host.virsh("net-list", "--all", "--name").split()),
        "filters": {line.split()[1] for line in host.virsh("nwfilter-list").splitlines() if "gh-" in line},
        "files": {name for name in volumes if not name.startswith("img-")},
        "bindings": {line.split()[0] for line in host.virsh("nwfilter-binding-list").splitlines() if line.strip()},
    }


def sockets(portal: Portal) -> set[str]:
    return {path.name for path in (portal.installation.run_dir / "guests").glob("*")}


@pytest.fixture(scope="module")
def foreign(lab_host: Host) -> Iterator[str]:
    """A machine of somebody else's on the same host."""
    xml = (
        "<domain type='qemu'><name>somebody-else</name><memory unit='MiB'>32</memory><os><type>hvm</type></os></domain>"
    )
    path = lab_host.pool_dir / "foreign.xml"
    path.write_text(xml)
    lab_host.virsh("define", path)
    lab_host.virsh("start", "somebody-else")
    yield "somebody-else"
    lab_host.virsh("destroy", "somebody-else")
    lab_host.virsh("undefine", "somebody-else")
    path.unlink()


@pytest.fixture(scope="module")
def machine(customer: Customer, operator: Customer, lab_host: Host, foreign: str) -> Machine:
    tested = {"kind": "host.probe", "status": "succeeded"}
    wait_until(
        lambda: operator.http.get("/operations", params=tested).json()["items"], timeout_s=120, what="the host's test"
    )
    before = on_host(lab_host)
    answer = customer.post(
        "/guests",
        {"name": "web-1", "flavor": "tiny", "image": customer.image(), "password": PASSWORD, "tags": ["journey"]},
    )
    assert answer.status_code == 202, answer.text
    said = answer.json()
    assert said["kind"] == "guest.create"
    assert said["subject"]["name"] == "web-1"
    assert answer.headers["Location"].endswith(f"/operations/{said['id']}")
    assert customer.guest(said["subject"]["id"])["status"] == "building"
    operation = customer.done(answer)
    assert (operation["progress"], operation["error"]) == (100, None)
    return Machine(customer, said["subject"]["id"], before)


def test_the_machine_runs_and_has_an_address(machine: Machine, lab_host: Host) -> None:
    guest = machine.now

    assert (guest["status"], guest["power"], guest["wanted_power"]) == ("running", "running", "running")
    assert [len(guest["addresses"]), guest["tags"], guest["problem"]] == [1, ["journey"], None]
    assert lab_host.virsh("domstate", machine.pk) == "running"


def test_its_serial_line_lets_its_owner_in_and_runs_a_command(machine: Machine) -> None:
    with machine.customer.serial(machine.pk) as line:
        line.log_in("root", PASSWORD, timeout_s=BOOT_S)

        assert line.ask("hostname") == "web-1"
        address = wait_until(
            lambda: re.search(r"inet ([\d.]+)", line.ask("ip -4 addr show dev eth0")), timeout_s=30, what="an address"
        )
        assert address[1] == machine.now["addresses"][0]["ip"]
        assert line.ask("echo $((6*7)); kept=yes") == "42"


def test_another_address_is_the_machines_once_it_asks_and_the_only_one_it_may_speak_as(
    machine: Machine, lab_host: Host
) -> None:
    customer = machine.customer
    (card,) = customer.get("/ports", guest=machine.pk).json()["items"]
    former = card["addresses"][0]["ip"]

    customer.done(customer.http.patch(customer.path(f"/ports/{card['id']}"), json={"ip": ""}))

    ip = machine.now["addresses"][0]["ip"]
    live = ElementTree.fromstring(lab_host.virsh("dumpxml", machine.pk))
    spoken = [said.get("value") for said in live.iterfind("./devices/interface/filterref/parameter[@name='IP']")]
    assert ip != former
    assert spoken == [ip]
    with customer.serial(machine.pk) as line:
        line.at_shell()
        line.ask("ip addr flush dev eth0")
        line.ask("udhcpc -i eth0 -nq -t 20 -s /etc/dhcp", timeout_s=120)
        assert f"inet {ip}/" in line.ask("ip -4 addr show dev eth0")
    held = customer.get("/addresses", guest=machine.pk).json()["items"]
    assert {use["ip"]: use["until"] is None for use in held} == {former: False, ip: True}


def test_its_screen_speaks_rfb_without_a_password_and_shows_a_picture(machine: Machine) -> None:
    with machine.customer.console(machine.pk, "vnc") as connection:
        width, height, pixels = one_frame(connection)

    assert width >= 320
    assert height >= 200
    assert len(set(pixels)) > 1, "a screen of one colour is no picture"


def test_limits_of_the_flavor_stand_in_the_live_machine_or_the_host_names_them(
    machine: Machine, operator: Customer, lab_host: Host
) -> None:
    live = ElementTree.fromstring(lab_host.virsh("dumpxml", machine.pk))
    host = operator.http.get("/hosts").json()["items"][0]

    iotune = live.find("./devices/disk/iotune")
    assert iotune is not None
    assert iotune.findtext("total_iops_sec") == "1000"
    assert iotune.findtext("total_bytes_sec") == str(50 * 1024**2)
    assert live.findtext("./cputune/shares") == "1024"
    shaped = live.find("./devices/interface/bandwidth") is not None
    assert shaped != ("bandwidth" in str(host)), "either it stands in the machine, or the host's page says it does not"


def test_displays_listen_on_sockets_only_and_the_filter_is_on(machine: Machine, lab_host: Host) -> None:
    live = ElementTree.fromstring(lab_host.virsh("dumpxml", machine.pk))

    assert [listen.get("type") for listen in live.iterfind("./devices/graphics/listen")] == ["socket"]
    assert live.find("./devices/interface/filterref") is not None
    assert machine.pk in live.findtext("uuid", "")


def test_pause_and_suspend_keep_what_was_in_memory(machine: Machine, lab_host: Host) -> None:
    steps = {"pause": "paused", "resume": "running", "suspend": "suspended", "wake": "running"}
    for action, status in steps.items():
        machine.customer.act(machine.pk, action)
        assert machine.now["status"] == status
    assert lab_host.virsh("domstate", machine.pk) == "running"

    with machine.customer.serial(machine.pk) as line:
        line.at_shell()
        assert line.ask("echo $kept") == "yes"


@pytest.mark.parametrize("action", ["reboot", "reset"])
def test_after_a_restart_it_asks_for_a_login_again(machine: Machine, action: str) -> None:
    with machine.customer.serial(machine.pk) as line:
        line.at_shell()
        machine.customer.act(machine.pk, action)
        line.log_in("root", PASSWORD, timeout_s=BOOT_S)
        assert line.ask("echo [$kept]") == "[]"
    assert machine.now["status"] == "running"


def test_a_power_off_typed_inside_shows_and_is_believed(machine: Machine, lab_host: Host) -> None:
    with machine.customer.serial(machine.pk) as line:
        line.at_shell()
        line.type("poweroff")
        wait_until(lambda: lab_host.virsh("domstate", machine.pk) == "shut off", timeout_s=60, what="it is off")
        machine.customer.sees(machine.pk, "stopped", within_s=SHOWN_WITHIN_S)

    assert machine.now["wanted_power"] == "stopped"


def test_a_machine_destroyed_with_virsh_shows(machine: Machine, lab_host: Host) -> None:
    machine.switch_on()

    lab_host.virsh("destroy", machine.pk)

    machine.customer.sees(machine.pk, "stopped", within_s=SHOWN_WITHIN_S)


def test_events_tell_the_browser_and_what_was_missed_comes_again(machine: Machine) -> None:
    with machine.customer.sign_in() as browser:
        with machine.customer.events(browser) as live:
            hello = heard(live, timeout_s=60)
            assert hello["type"] == "hello"
            machine.switch_on()
            first = _guest_event(live, machine.pk)
        machine.customer.act(machine.pk, "pause")
        machine.customer.act(machine.pk, "resume")
        with machine.customer.events(browser, after=first["seq"]) as live:
            newest = heard(live, timeout_s=60)["seq"]
            missed = [heard(live, timeout_s=60)]
            while missed[-1]["seq"] < newest:
                missed.append(heard(live, timeout_s=60))
    numbers = [event["seq"] for event in missed]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > first["seq"]
    assert any(event["resource"]["id"] == machine.pk for event in missed)


def _guest_event(live: Any, pk: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        event = heard(live, timeout_s=30)
        if event["type"] == "guest.changed" and event["resource"]["id"] == pk:
            return event
    raise TimeoutError("no event of the machine")


def qemu(machine: Machine, host: Host) -> str:
    """The process id of its QEMU, as the host counts."""
    return host.exec("cat", f"/run/libvirt/qemu/{host.virsh('domname', machine.pk)}.pid").stdout.strip()


def test_a_machine_outlives_its_hosts_libvirtd(machine: Machine, lab_host: Host) -> None:
    """L1."""
    machine.switch_on()
    before = qemu(machine, lab_host)

    lab_host.kill_daemon()
    lab_host.start_daemon()

    machine.customer.sees(machine.pk, "running", within_s=60)
    assert qemu(machine, lab_host) == before
    machine.customer.act(machine.pk, "pause")
    machine.customer.act(machine.pk, "resume")


def test_a_killed_qemu_shows_and_the_machine_can_be_started_again(machine: Machine, lab_host: Host) -> None:
    """Q1."""
    machine.switch_on()

    lab_host.exec("kill", "-9", qemu(machine, lab_host))

    machine.customer.sees(machine.pk, "error", within_s=5)
    assert machine.now["wanted_power"] == "running"
    machine.switch_on()
    assert machine.now["status"] == "running"


def test_shutdown_presses_the_button_and_the_guest_hears_it(machine: Machine, lab_host: Host) -> None:
    machine.switch_on()
    with machine.customer.serial(machine.pk) as line:
        line.type("")
        line.read_until(r"login: $", timeout_s=BOOT_S)

    machine.customer.done(machine.customer.post(f"/guests/{machine.pk}/shutdown", {"grace_s": 120}))

    assert machine.now["status"] == "stopped"
    assert lab_host.virsh("domstate", machine.pk) == "shut off"


def test_the_bin_keeps_disk_and_address_and_gives_them_back(machine: Machine, lab_host: Host) -> None:
    address = machine.now["addresses"]

    machine.customer.done(machine.customer.delete(f"/guests/{machine.pk}"))

    assert machine.now["status"] == "binned"
    assert machine.pk not in lab_host.virsh("list", "--all", "--uuid").split()
    assert machine.pk not in [guest["id"] for guest in machine.customer.get("/guests").json()["items"]]
    assert machine.customer.post(f"/guests/{machine.pk}/start").status_code == 409
    machine.customer.done(machine.customer.post(f"/guests/{machine.pk}/restore"))
    assert (machine.now["status"], machine.now["addresses"]) == ("stopped", address)


def test_all_is_well_while_the_machine_is_there(machine: Machine, portal: Portal) -> None:
    answer = portal.manage("audit")

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_nothing_of_a_purged_machine_is_left_on_the_host(machine: Machine, portal: Portal, lab_host: Host) -> None:
    machine.customer.done(machine.customer.delete(f"/guests/{machine.pk}", purge="true"))

    assert machine.customer.get(f"/guests/{machine.pk}").status_code == 404
    assert on_host(lab_host) == machine.before
    assert not {name for name in sockets(portal) if name.startswith(machine.pk.replace("-", ""))}
    quota = {line["name"]: line["used"] for line in machine.customer.get("/quota").json()["quota"]}
    assert {name: quota[name] for name in ("guests", "vcpus", "memory_mib", "disk_gib", "volumes", "addresses")} == (
        dict.fromkeys(("guests", "vcpus", "memory_mib", "disk_gib", "volumes", "addresses"), 0)
    )
    assert portal.manage("audit").returncode == 0


def test_what_is_somebody_elses_was_not_touched(machine: Machine, foreign: str, lab_host: Host) -> None:
    assert lab_host.virsh("domstate", foreign) == "running"


BAD = {
    "no name": {"name": ""},
    "capitals": {"name": "Web"},
    "a newline": {"name": "web\nruncmd: [touch /pwn]"},
    "markup": {"name": "</name><devices/>"},
    "a path": {"name": "../etc"},
    "long": {"name": "a" * 64},
    "an option": {"name": "-rf"},
    "no such size": {"flavor": "enormous"},
    "no such image": {"image": "01890000-0000-7000-8000-000000000000"},
    "a bad tag": {"tags": ["A b"]},
    "no key": {"ssh_keys": ["ssh-rsa AAAA\ncommand=x"]},
    "no cloud-config": {"user_data": "#cloud-config\n{"},
    "a control character": {"password": "a\u0007b"},
    "too many": {"count": 101},
    "none": {"count": 0},
    "an unknown field": {"host": "host1"},
    "a wrong type": {"count": "2"},
    "a foreign network": {"networks": ["01890000-0000-7000-8000-000000000000"]},
}


@pytest.mark.parametrize("wish", BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_at_its_field_and_changes_nothing(customer: Customer, wish: dict[str, Any]) -> None:
    before = customer.get("/events").json(), customer.get("/quota").json()

    answer = customer.post("/guests", {"name": "fine", "flavor": "tiny", "image": customer.image(), **wish})

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    field = "/" + next(iter(wish))
    assert any(error["pointer"].startswith(field) for error in answer.json()["errors"]), answer.text
    assert (customer.get("/events").json(), customer.get("/quota").json()) == before


def test_secrets_stand_in_no_log_and_no_argument(portal: Portal) -> None:
    """P-A3, P-A13, I9."""
    tokens = [portal.first_run["operator"]["token"], portal.first_run["tenant"]["owner"]["token"], PASSWORD]
    found = subprocess.run(
        ["grep", "-rlF", *(word for token in tokens for word in ("-e", token)), str(portal.installation.log_dir)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert found.stdout == ""

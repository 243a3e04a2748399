"""What operators do to hosts, machines, flavors, images and operations on their site."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import every_tenant
from tests import factories
from tests.factories import House
from tests.portal.admin.doing import add, address, audited, do, said
from vms.models import Flavor, Host, Image
from vms.states import ImageState, Power


def test_a_host_is_enrolled_and_tested(desk: Client) -> None:
    factories.installation()

    answer = add(
        desk, Host, uri="qemu+tls://fra1-a09/system", name="", data_dir="/srv/guesthouse", run_dir="/run/gh",
        addresses="10.0.0.9\n2001:db8::9", pool="",
    )  # fmt: skip

    host = Host.objects.get(name="fra1-a09")
    assert said(answer) == ["fra1-a09 is enrolled and being tested."]
    assert host.addresses == ["10.0.0.9", "2001:db8::9"]
    assert Operation.objects.get(kind="host.probe").subject_id == host.pk
    assert LogEntry.objects.get().change_message.startswith("Enrol a host:")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"uri": "http://elsewhere/"}, "Use a libvirt URI"),
        ({"data_dir": "relative/../path"}, "An absolute path"),
        ({"addresses": "not-an-address"}, "is not an address"),
    ],
    ids=["uri", "path", "address"],
)
def test_a_host_that_cannot_be_is_refused_at_its_field(desk: Client, wrong: dict[str, str], words: str) -> None:
    factories.installation()
    right = {"uri": "qemu:///system", "data_dir": "/srv/guesthouse", "run_dir": "/run/gh", "addresses": ""}

    answer = add(desk, Host, **{**right, **wrong})

    assert words in str(answer.context["form"].errors[next(iter(wrong))])
    assert not Host.objects.exists()


def test_maintenance_begins_and_ends(desk: Client, house: House) -> None:
    host = factories.host_up()
    assert "takes no new machines" in str(desk.get(address(host, "deed", "maintain")).content)

    do(desk, host, "maintain")
    host.refresh_from_db()
    assert host.maintenance
    labels = [str(button["deed"].label) for button in desk.get(address(host)).context["buttons"]]
    assert "End maintenance" in labels
    assert "Begin maintenance" not in labels

    do(desk, host, "release")
    host.refresh_from_db()
    assert not host.maintenance


def test_a_hosts_page_says_in_words_what_it_cannot_do(desk: Client) -> None:
    host = factories.host_up()
    Host.objects.filter(pk=host.pk).update(unenforced=["bandwidth"], notes=["No sch_sfq."], accelerated=False)

    page = desk.get(address(host)).content.decode()

    assert "Network speed is not limited" in page
    assert "No sch_sfq." in page
    assert "machines are emulated and slow" in page


@pytest.mark.parametrize("term", ["name", "ip", "mac", "id", "tenant"])
def test_a_machine_is_found_by(desk: Client, house: House, term: str) -> None:
    wanted = factories.guest(house, "needle")
    factories.guest(factories.tenant_with_owner("other"), "hay")
    with every_tenant(why="test"):
        port = wanted.ports.get()
        ip = port.addresses.get().ip
    words = {"name": "eedl", "ip": ip, "mac": port.mac.upper(), "id": str(wanted.pk), "tenant": "harbo"}

    page = desk.get(reverse("admin:vms_guest_changelist"), {"q": words[term]})

    assert list(page.context["cl"].result_list) == [wanted]


def test_a_machines_page_leads_to_the_one_its_customer_sees(desk: Client, house: House) -> None:
    guest = factories.guest(house)

    page = desk.get(address(guest)).content.decode()

    assert f'href="/t/harbour/machines/{guest.pk}/"' in page
    for secret in (guest.display_password, guest.password_hash, guest.user_data):
        assert not secret or secret not in page


def test_power_goes_through_the_service(desk: Client, house: House) -> None:
    guest = factories.guest(house, power=Power.RUNNING)

    do(desk, guest, "shutdown", grace_s=30)

    operation = Operation.objects.get(kind="guest.shutdown")
    assert operation.params["grace_s"] == 30
    assert operation.requested_label == "operator@example.test"
    assert audited("guest.shutdown").tenant == house.tenant


def test_a_refusal_becomes_a_message_with_its_hint_and_changes_nothing(desk: Client, house: House) -> None:
    guest = factories.guest(house, power=Power.STOPPED)
    Host.objects.update(state="down")

    answer = do(desk, guest, "start")

    page = answer.content.decode()
    assert "nobody knows what it is doing" in page
    assert "Wait until the host is back" in page
    assert not Operation.objects.filter(kind="guest.start").exists()
    assert not LogEntry.objects.exists()


def test_a_flavor_is_added_and_edited(desk: Client) -> None:
    size = {"name": "big", "vcpus": 4, "memory_mib": 8192, "disk_gib": 80, "cpu_percent": 0, "disk_iops": 0}
    rest = {"disk_mbps": 0, "net_mbit": 0, "enabled": "on", "sort": 100}
    add(desk, Flavor, **size, **rest)
    flavor = Flavor.objects.get(name="big")

    answer = do(desk, flavor, "edit", **{**size, **rest, "net_mbit": 500})

    flavor.refresh_from_db()
    assert flavor.net_mbit == 500
    assert said(answer) == ["net_mbit 0 → 500"]
    assert "at once" not in str(add(desk, Flavor, **{**size, **rest, "name": "NOT GOOD"}).content)
    assert Flavor.objects.count() == 1


def test_an_image_is_imported_deprecated_and_deleted(desk: Client) -> None:
    add(desk, Image, name="Debian 12", url="https://example.test/d.qcow2", sha256="a" * 64, source_format="qcow2",
        os_family="debian", os_version="12", kind="disk", firmware="bios", disk_bus="virtio", nic_model="virtio",
        init="cloud-init")  # fmt: skip
    with every_tenant(why="test"):
        image = Image.objects.get(name="Debian 12")
    assert Operation.objects.get(kind="image.import").params["url"] == "https://example.test/d.qcow2"

    ready = factories.image("Old")
    do(desk, ready, "deprecate")
    ready.refresh_from_db()
    assert ready.state == ImageState.DEPRECATED

    do(desk, image, "delete")
    do(desk, ready, "delete")
    with every_tenant(why="test"):
        assert Image.objects.filter(pk=image.pk).exists(), "its import is still under way"
        assert Image.objects.get(pk=ready.pk).state == ImageState.DELETING


def test_an_image_with_machines_is_not_deleted(desk: Client, house: House) -> None:
    guest = factories.guest(house)

    answer = do(desk, guest.image, "delete")

    assert "Machines or volumes stand on this image" in answer.content.decode()
    assert "Deprecate it" in answer.content.decode()


def test_operators_see_what_the_host_said(desk: Client, house: House) -> None:
    _guest, operation = factories.guest_building(house)
    factories.operation_broken(operation)

    page = desk.get(address(operation)).content.decode()

    assert "It did not work." in page
    assert "Try again." in page
    assert "the host said no" in page


def test_waiting_work_is_hurried_and_called_off(desk: Client, house: House) -> None:
    _guest, operation = factories.guest_building(house)
    Operation.objects.filter(pk=operation.pk).update(not_before="2030-01-01T00:00:00Z")

    do(desk, operation, "retry")
    operation.refresh_from_db()
    assert operation.not_before.year < 2030

    do(desk, operation, "cancel")
    operation.refresh_from_db()
    assert operation.status == "cancelled"
    labels = [str(button["deed"].label) for button in desk.get(address(operation)).context["buttons"]]
    assert labels == []

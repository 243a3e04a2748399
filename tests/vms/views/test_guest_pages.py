"""Pages of machines: forms say what is wrong at the field, buttons answer with what they changed, dialogs ask first."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from operations.models import Operation
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.vms.views.pages import PARTIAL, guests, url
from vms.models import SshKey
from vms.services.guests import guest_edit
from vms.services.guests.power import ACTIONS
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def wish(**changes: Any) -> dict[str, Any]:
    """What the form for machines sends."""
    return {
        "name": "web",
        "count": "1",
        "image": factories.image("tiny").pk,
        "flavor": factories.flavor("tiny").pk,
        "start": "on",
        **changes,
    }


def test_the_form_makes_a_machine_with_everything_it_asks_for(house: House, client: Client) -> None:
    network = factories.network(house, "back")

    answer = client.post(
        url(house, "guest_create"),
        wish(networks=[network.pk], tags="prod, web prod", user_data="#cloud-config\r\n{}\r\n", protected="on"),
    )

    assert answer.status_code == 302
    assert answer["Location"] == url(house, "guest_list")
    (guest,) = guests(house)
    with tenant_scope(house.tenant):
        assert (guest.name, guest.tag_names(), guest.protected) == ("web", ["prod", "web"], True)
        assert guest.user_data == "#cloud-config\n{}\n"
        assert [port.network for port in guest.ports.select_related("network")] == [network]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "Web"),
        ("name", "<script>alert(1)</script>"),
        ("count", "0"),
        ("count", "21"),
        ("count", "many"),
        ("image", "01890000-0000-7000-8000-000000000000"),
        ("flavor", "nothing"),
        ("tags", "BAD"),
        ("user_data", "#cloud-config\n{"),
        ("password", "a\x07b"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_is_made(
    house: House, client: Client, field: str, value: str
) -> None:
    answer = client.post(url(house, "guest_create"), wish(**{field: value}))

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert value not in answer.content.decode() or "<" not in value
    assert guests(house) == []


def test_a_taken_name_is_said_at_the_name(house: House, client: Client) -> None:
    factories.guest(house, "web")

    answer = client.post(url(house, "guest_create"), wish())

    assert answer.status_code == 422
    assert "exists" in answer.context["form"].errors["name"][0]


def test_no_quota_is_said_above_the_form(client: Client) -> None:
    small = factories.tenant_with_owner(limits={"guests": 0})

    answer = browser(small.owner).post(url(small, "guest_create"), wish())

    assert answer.status_code == 422
    assert "quota" in answer.context["form"].non_field_errors()[0]


def test_a_foreign_network_or_key_cannot_be_picked(house: House, client: Client) -> None:
    foreign = factories.network(factories.tenant_with_owner())

    answer = client.post(url(house, "guest_create"), wish(networks=[foreign.pk]))

    assert list(answer.context["form"].errors) == ["networks"]
    assert guests(house) == []


def test_the_recap_says_what_it_takes_and_changes_nothing(house: House, client: Client) -> None:
    address = url(house, "guest_recap")

    fits = client.post(address, wish(count="3"), headers=PARTIAL).content.decode()
    too_many = client.post(address, wish(count="11"), headers=PARTIAL).content.decode()
    unfinished = client.post(address, {"name": "x"}, headers=PARTIAL).content.decode()

    assert 'data-fits="yes"' in fits
    assert "Create 3 machines" in fits
    assert "web-1 … web-3" in fits
    assert 'data-fits="no"' in too_many
    assert "Choose an image" in unfinished
    assert guests(house) == []


def test_a_key_is_added_inside_the_form_and_ticked(house: House, client: Client) -> None:
    before = client.post(url(house, "key_create"), {"key-public_key": factories.public_key("laptop")})
    with tenant_scope(house.tenant):
        first = SshKey.objects.get()

    answer = client.post(
        url(house, "key_create"),
        {"key-public_key": factories.public_key("desk"), "inline": "1", "ssh_keys": [str(first.pk)]},
        headers=PARTIAL,
    )

    text = answer.content.decode()
    assert before.status_code == 302
    assert text.lstrip().startswith('<div id="keys">')
    assert len(re.findall(r"checked", text)) == 2
    assert "desk" in text


def test_a_bad_key_is_said_at_the_key(house: House, client: Client) -> None:
    answer = client.post(
        url(house, "key_create"), {"key-public_key": "ssh-rsa nonsense", "inline": "1"}, headers=PARTIAL
    )

    assert answer.status_code == 422
    assert "not an OpenSSH public key" in answer.content.decode()


def test_a_button_in_a_row_answers_with_the_row_and_its_operation(house: House, client: Client) -> None:
    guest = factories.guest(house, power=Power.STOPPED)

    answer = client.post(url(house, "guest_power", guest.pk, "start"), {"partial": "row"}, headers=PARTIAL)

    text = answer.content.decode()
    assert answer.status_code == 200
    assert f'id="guest-{guest.pk}"' in text
    assert f"operation:{Operation.objects.get(kind='guest.start').pk}" in text


def test_a_refused_button_answers_with_a_note(house: House, client: Client) -> None:
    guest = factories.guest(house, power=Power.STOPPED)

    answer = client.post(url(house, "guest_power", guest.pk, "pause"), {"partial": "row"}, headers=PARTIAL)

    assert answer.status_code == 409
    assert 'hx-target="#notes"' in answer.content.decode()


def test_without_scripts_a_button_leads_back_to_the_machine(house: House, client: Client) -> None:
    guest = factories.guest(house, power=Power.STOPPED)

    answer = client.post(url(house, "guest_power", guest.pk, "start"))

    assert answer["Location"] == url(house, "guest_detail", guest.pk)


@pytest.mark.parametrize("name", ["guest_row", "guest_menu", "guest_header"])
def test_what_can_be_pressed_follows_the_state_and_the_role(house: House, name: str) -> None:
    running = factories.guest(house, "up")
    viewer, _token = factories.member_with(house.tenant, [Permission.GUEST_VIEW])
    presser, _token = factories.member_with(house.tenant, [Permission.GUEST_VIEW, Permission.GUEST_POWER])

    seen = {
        person: browser(person).get(url(house, name, running.pk), headers=PARTIAL).content.decode()
        for person in (viewer, presser)
    }

    assert "/power/" not in seen[viewer]
    assert "/delete/" not in seen[viewer]
    assert "/console/" not in seen[viewer]
    assert "/power/shutdown/" in seen[presser]
    assert "/power/start/" not in seen[presser]
    assert "/delete/" not in seen[presser]


@pytest.mark.parametrize("power", [power for power in Power if power != Power.ABSENT])
def test_a_menu_offers_exactly_what_the_service_takes_now(house: House, client: Client, power: Power) -> None:
    guest = factories.guest(house, power=power)

    menu = client.get(url(house, "guest_menu", guest.pk), headers=PARTIAL).content.decode()

    offered = set(re.findall(r'<(?:form|a)[^>]+/power/(\w+)/"', menu))
    taken = set()
    for action in ACTIONS:
        with transaction.atomic():
            form = {"partial": "row", "confirmed": "yes"}
            answer = client.post(url(house, "guest_power", guest.pk, action), form, headers=PARTIAL)
            taken |= {action} if answer.status_code == 200 else set()
            transaction.set_rollback(True)
    assert offered == taken


def test_the_menu_of_a_foreign_or_hidden_machine_is_not_there(house: House, client: Client) -> None:
    foreign = factories.guest(factories.tenant_with_owner(), "foreign")
    other = factories.guest(house, "other")
    person, _token = factories.member_with(house.tenant, [Permission.GUEST_VIEW], tags=["prod"])

    assert client.get(url(house, "guest_menu", foreign.pk), headers=PARTIAL).status_code == 404
    assert browser(person).get(url(house, "guest_menu", other.pk), headers=PARTIAL).status_code == 404


def test_deleting_needs_the_name(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    address = url(house, "guest_delete", guest.pk)

    asked = client.get(address, headers=PARTIAL).content.decode()
    wrong = client.post(address, {"typed": "wab"})
    right = client.post(address, {"typed": "web"})

    assert asked.lstrip().startswith("<dialog")
    assert "kept 7 days" in asked
    assert wrong.status_code == 422
    assert right.status_code == 302
    assert Operation.objects.filter(kind="guest.delete").count() == 1


def test_a_protected_machine_stays(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    with tenant_scope(house.tenant):
        guest_edit(guest, actor=house.actor, protected=True)

    answer = client.post(url(house, "guest_delete", guest.pk), {"typed": "web"})

    assert answer.status_code == 422
    assert "protected" in answer.content.decode()
    assert not Operation.objects.filter(kind="guest.delete").exists()


def test_renaming_to_a_taken_or_bad_name_says_so_at_the_field(house: House, client: Client) -> None:
    guest = factories.guest(house, "web")
    factories.guest(house, "db")

    answers = [client.post(url(house, "guest_rename", guest.pk), {"name": name}) for name in ("db", "Db", "new")]

    assert [answer.status_code for answer in answers] == [422, 422, 302]
    assert all("name" in answer.context["rename_form"].errors for answer in answers[:2])
    assert [row.name for row in guests(house)] == ["db", "new"]


def test_the_serial_page_alone_lets_the_terminal_draw(house: House, client: Client) -> None:
    guest = factories.guest(house)

    policies = {
        name: client.get(url(house, name, guest.pk))["Content-Security-Policy"]
        for name in ("console", "console_serial")
    }

    assert "unsafe" not in policies["console"]
    assert "style-src 'self' 'unsafe-inline'" in policies["console_serial"]
    assert "script-src 'self';" in policies["console_serial"]


def test_a_console_ticket_is_json_and_so_is_its_refusal(house: House, client: Client) -> None:
    running, stopped = factories.guest(house), factories.guest(house, power=Power.STOPPED)

    given = client.post(url(house, "console_ticket", running.pk), {"kind": "serial"})
    refused = client.post(url(house, "console_ticket", stopped.pk), {"kind": "vnc"})

    assert given.json()["url"].startswith("ws")
    assert "no-store" in given["Cache-Control"]
    assert (refused.status_code, refused["Content-Type"]) == (409, "application/problem+json")
    assert "running machine" in refused.json()["detail"]


def test_a_resize_shows_what_it_takes_before_the_click_and_is_asked_for(house: House, client: Client) -> None:
    guest = factories.guest(house, power=Power.RUNNING)
    larger = factories.flavor("larger", vcpus=3, memory_mib=512, disk_gib=2)
    address = url(house, "guest_resize", guest.pk)

    dialog = client.get(address, headers=PARTIAL).content.decode()
    forecast = client.get(f"{address}?part=forecast&flavor={larger.pk}", headers=PARTIAL).content.decode()
    refused = client.post(address, {"flavor": guest.flavor_id}, headers=PARTIAL)
    asked = client.post(address, {"flavor": larger.pk, "when": "restart"})

    assert "Choose a size" in dialog
    assert "larger" in dialog
    assert "vCPUs: 1 becomes 3" in forecast
    assert 'data-fits="yes"' in forecast
    assert (refused.status_code, "has this size already" in refused.content.decode()) == (422, True)
    assert asked.status_code == 302
    with tenant_scope(house.tenant):
        operation = Operation.objects.get(kind="guest.resize")
    assert operation.params == {"when": "restart"}

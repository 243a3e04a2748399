"""Security groups on their pages: made, changed rule by rule, and chosen for a machine's card."""

from __future__ import annotations

import pytest
from django.test import Client

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.vms.views.test_snapshot_pages import text, url
from vms.models import Guard, Port, SecurityGroup
from vms.services.security_groups import group_create, group_default

pytestmark = pytest.mark.django_db


def ended(house: House) -> None:
    """A worker has done what was asked last."""
    with tenant_scope(house.tenant):
        factories.operation_done(Operation.objects.filter(status="queued").latest("created_at"))


def test_a_group_is_made_and_its_rules_come_and_go(house: House, client: Client) -> None:
    assert "No security groups yet" in text(client, url(house, "group_list"))
    refused = client.post(url(house, "group_create"), {"name": "Web Servers"})
    assert refused.status_code == 422
    answer = client.post(url(house, "group_create"), {"name": "web", "note": "The shop"})
    with tenant_scope(house.tenant):
        group = SecurityGroup.objects.get(name="web")
    here = url(house, "group_detail", group.pk)
    assert answer.headers["Location"] == here
    assert "Anybody" in text(client, here)

    add = url(house, "group_rule_add", group.pk)
    wrong = client.post(add, {"direction": "in", "protocol": "tcp", "ports": "22-", "peer": "cidr"})
    assert wrong.status_code == 422
    assert "Which range?" in wrong.content.decode()
    ranged = {"direction": "in", "protocol": "tcp", "ports": "8000-8999", "peer": "cidr"}
    loose = client.post(add, {**ranged, "cidr": "10.1.2.3/8"})
    assert loose.status_code == 422
    assert "range&#x27;s first one" in loose.content.decode()
    assert client.post(add, {**ranged, "cidr": "10.0.0.0/8", "note": "staging"}).status_code == 302
    shown = text(client, here)
    assert "8000–8999" in shown
    assert "The rules are being put in place" in shown
    ended(house)
    assert "The rules are being put in place" not in text(client, here)

    drop = url(house, "group_rule_drop", group.pk)
    mark = "in|tcp|8000|8999|10.0.0.0/8|"
    assert f'value="{mark}"' in shown
    assert client.post(drop, {"rule": mark}).status_code == 302
    ended(house)
    assert "8000–8999" not in text(client, here)
    assert client.post(drop, {"rule": mark}).status_code == 302, "gone already"


def test_a_machine_is_guarded_by_what_is_chosen(house: House, client: Client) -> None:
    guest = factories.guest(house, "web-1")
    with tenant_scope(house.tenant):
        port = Port.objects.get(guest=guest)
        web = group_create(house.tenant, name="web", actor=house.actor)
    here = url(house, "guest_guard", guest.pk, port.pk)
    assert "What guards web-1" in text(client, here)
    assert client.post(here, {}).status_code == 422

    assert client.post(here, {"security_groups": [str(web.pk)]}).status_code == 302
    ended(house)

    with tenant_scope(house.tenant):
        assert [guard.group_id for guard in Guard.objects.filter(port=port)] == [web.pk]
    assert "web-1" in text(client, url(house, "group_detail", web.pk))


def test_a_machines_network_tab_says_what_guards_each_card(house: House, client: Client) -> None:
    guest = factories.guest(house, "web-1")
    with tenant_scope(house.tenant):
        port = Port.objects.get(guest=guest)
        default = SecurityGroup.objects.get(is_default=True)
    tab = url(house, "guest_detail", guest.pk) + "?tab=network"

    shown = text(client, tab)
    assert url(house, "group_detail", default.pk) in shown
    assert url(house, "guest_guard", guest.pk, port.pk) in shown

    with tenant_scope(house.tenant):
        Guard.objects.all().delete()
    assert "None yet: everything is let in and out" in text(client, tab)
    dialog = text(client, url(house, "guest_guard", guest.pk, port.pk))
    assert "This card was made before there were security groups" in dialog
    assert 'name="security_groups"' not in dialog


def test_the_form_for_machines_says_who_gets_in(house: House, client: Client) -> None:
    form = url(house, "guest_create")
    assert "The first machine brings the default group" in text(client, form)
    with tenant_scope(house.tenant):
        web = group_create(house.tenant, name="web", rules=RULES, actor=house.actor)
        group_default(house.tenant, actor=house.actor)

    shown = text(client, form)
    assert "lets in: ICMP, TCP 22 from 10.0.0.0/8, TCP 8000–8999 from machines of web +1" in shown
    assert "lets nobody in" in shown

    sent = {"name": "web", "count": "1", "image": factories.image("tiny").pk, "flavor": factories.flavor("tiny").pk}
    assert client.post(form, sent | {"security_groups": [str(web.pk)]}).status_code == 302
    with tenant_scope(house.tenant):
        assert [guard.group_id for guard in Guard.objects.filter(port__guest__name="web")] == [web.pk]


RULES = [
    {"direction": "out"},
    {"direction": "in", "protocol": "tcp", "first_port": 8000, "last_port": 8999, "group": "self"},
    {"direction": "in", "protocol": "tcp", "first_port": 22, "cidr": "10.0.0.0/8"},
    {"direction": "in", "protocol": "icmp"},
    {"direction": "in", "protocol": "udp", "first_port": 53},
]


def test_a_viewer_sees_rules_and_changes_none(house: House) -> None:
    with tenant_scope(house.tenant):
        group = group_create(house.tenant, name="web", actor=house.actor)
    viewer = factories.user()
    factories.join(house.tenant, viewer, role="viewer")
    client = browser(viewer)

    shown = text(client, url(house, "group_detail", group.pk))

    assert "Allow one thing more" not in shown
    assert "Rename" not in shown
    assert client.post(url(house, "group_rule_drop", group.pk), {"rule": "x"}).status_code == 403

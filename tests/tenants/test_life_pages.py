"""The audit log, the settings and the end of a project, as its people see them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client

from tenants.journal.audit import audit_record
from tenants.journal.models import AuditEntry
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tenants.services.tenants import tenant_close, tenant_suspend
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.tenants.auditing import rewrite_all

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


@pytest.fixture
def client(house: House) -> Client:
    return browser(house.owner)


def text_of(client: Client, path: str, **headers: str) -> str:
    answer = client.get(f"/t/harbour/{path}", headers=headers)
    assert answer.status_code == 200, answer
    return str(answer.content.decode())


def shown(client: Client, query: str) -> list[str]:
    """The actions that the log shows for these filters."""
    answer = client.get(f"/t/harbour/audit/?{query}")
    return [entry.action for entry in answer.context["entries"]]


def test_the_log_is_narrowed_by_what_is_known(house: House, client: Client) -> None:
    factories.network(house, "blue")

    assert shown(client, "action=network.") == ["network.create"]
    assert shown(client, "q=blue") == ["network.create"]
    assert set(shown(client, f"actor={house.owner.email}")) == {"network.create"}
    assert shown(client, "until=2001-01-01") == []
    assert "network.create" in shown(client, "since=2001-01-01")
    assert shown(client, "since=nonsense"), "a filter that makes no sense does not hide anything"


def test_a_day_is_the_readers_day(house: House, client: Client) -> None:
    factories.network(house)
    with tenant_scope(house.tenant):
        at = AuditEntry.objects.latest("seq").at
    house.owner.timezone = "Pacific/Kiritimati"
    house.owner.save()

    from zoneinfo import ZoneInfo

    day = at.astimezone(ZoneInfo("Pacific/Kiritimati")).date().isoformat()
    assert "network.create" in shown(client, f"since={day}&until={day}")


def test_the_log_is_checked_in_its_place(house: House, client: Client) -> None:
    whole = text_of(client, "audit/verify/")
    part = text_of(client, "audit/verify/", **HTMX)

    assert "The log is whole." in whole
    assert "<h1>" in whole
    assert "The log is whole." in part
    assert "<h1>" not in part
    with tenant_scope(house.tenant):
        last = AuditEntry.objects.latest("seq")
    assert last.hash in part


def test_a_forged_log_says_where(house: House, client: Client) -> None:
    for _ in range(4):
        factories.network(house)
    with tenant_scope(house.tenant):
        kept = AuditEntry.objects.latest("seq")
    rewrite_all(house, without=3)

    assert "The log is whole." in text_of(client, "audit/verify/", **HTMX)
    compared = text_of(client, f"audit/verify/?after_seq={kept.seq}&hash={kept.hash}", **HTMX)
    assert "The log is not whole." in compared
    assert f"Entry {kept.seq} does not have the hash that you kept" in compared


def test_half_a_place_is_asked_for_again(house: House, client: Client) -> None:
    for query in ("after_seq=3", "hash=" + "0" * 64, "after_seq=3&hash=xyz", "after_seq=-1&hash=" + "0" * 64):
        answer = client.get(f"/t/harbour/audit/verify/?{query}", headers=HTMX)
        assert answer.status_code == 422, query
        assert "whole" not in answer.content.decode()


def test_a_long_log_goes_on_from_where_the_look_stopped(
    house: House, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.views.audit.AT_ONCE", 2)
    with tenant_scope(house.tenant):
        for _ in range(3):
            audit_record(house.actor, "test.do", house.tenant)
        second = AuditEntry.objects.get(seq=2)

    text = text_of(client, "audit/verify/", **HTMX)

    assert "Whole so far." in text
    assert f'name="hash" value="{second.hash}"' in text
    assert 'name="after_seq" value="2"' in text


def test_the_log_leaves_as_a_file_of_what_is_shown(house: House, client: Client) -> None:
    factories.network(house, "blue")

    table = client.get("/t/harbour/audit/export/?format=csv&action=network.").getvalue().decode()
    lines = client.get("/t/harbour/audit/export/?q=blue").getvalue().splitlines()

    assert [row["subject_name"] for row in csv.DictReader(io.StringIO(table))] == ["blue"]
    assert [json.loads(line)["action"] for line in lines] == ["network.create"]


def test_an_owner_closes_by_typing_the_name_and_reopens(house: House, client: Client) -> None:
    factories.guest(house)
    assert "Close…" in text_of(client, "settings/")
    dialog = text_of(client, "settings/close/", **HTMX)
    assert "Machines, with their disks" in dialog
    assert "For 30 days" in dialog

    wrong = client.post("/t/harbour/settings/close/", {"confirm": "harbor", "reason": "Moving."})
    assert wrong.status_code == 422
    assert "Nothing was closed" in wrong.content.decode()
    assert 'value="Moving."' in wrong.content.decode()
    done = client.post("/t/harbour/settings/close/", {"confirm": "harbour", "reason": "Moving."}, follow=True)

    text = done.content.decode()
    assert "This project is being closed." in text
    assert "Moving." in text
    assert "Reopen the project" in text
    assert "Close…" not in text
    assert "This project is being closed." in text_of(client, "machines/"), "every page says so"
    client.post("/t/harbour/settings/reopen/")
    assert Tenant.objects.get(slug="harbour").state == "active"


def test_what_an_operator_closes_offers_no_way_back(house: House, client: Client) -> None:
    tenant_close(house.tenant, confirm="harbour", reason="Abuse.", actor=factories.desk())

    assert "Reopen the project" not in text_of(client, "settings/")
    assert client.post("/t/harbour/settings/reopen/").status_code == 409


def test_an_admin_is_not_offered_the_end(house: House) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="admin")
    client = browser(person)

    assert "Close…" not in text_of(client, "settings/")
    assert "Export" in text_of(client, "settings/")
    assert client.get("/t/harbour/settings/close/").status_code == 403


@pytest.mark.parametrize("path", ["", "machines/", "audit/", "settings/", "quota/", "members/"])
def test_every_page_of_a_suspended_project_says_why(house: House, client: Client, path: str) -> None:
    tenant_suspend(house.tenant, reason="Unpaid <b>since</b> March.", actor=factories.desk())

    text = text_of(client, path)

    assert "This project is suspended." in text
    assert "Unpaid &lt;b&gt;since&lt;/b&gt; March." in text


def test_a_child_is_told_no_more_than_that_it_is_its_parent(house: House) -> None:
    parent = factories.tenant_with_owner("reseller")
    house.tenant.parent = parent.tenant
    house.tenant.save()
    tenant_suspend(parent.tenant, reason="Insolvent.", actor=factories.desk())

    text = text_of(browser(house.owner), "")

    assert "The project that it belongs to is not active." in text
    assert "Insolvent" not in text


def test_hostile_names_stay_text(house: House, client: Client) -> None:
    hostile = "<script>alert(1)</script>"
    with tenant_scope(house.tenant):
        house.tenant.name = hostile
        audit_record(house.actor, "tenant.rename", house.tenant, name=["x", hostile])

    assert hostile not in text_of(client, "audit/")


def test_headers_of_a_file_hold_the_slug_only(house: House, client: Client) -> None:
    answer: Any = client.get("/t/harbour/settings/export/")

    assert answer["Content-Disposition"] == 'attachment; filename="harbour.jsonl"'

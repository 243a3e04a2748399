"""A tenant takes along everything that its reader may see, as it is read, and nothing secret."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.journal.models import AuditEntry, UsageInterval
from tenants.models import ApiToken
from tenants.policy import Permission
from tenants.scoping import current_scope, tenant_scope
from tenants.services.export import CHUNK, _sections, tenant_export
from tenants.services.tenants import tenant_close, tenant_suspend
from tenants.services.tokens import token_create
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Guest
from vms.services.keys import key_create

pytestmark = pytest.mark.django_db
P = Permission
BOOKS = [P.QUOTA_VIEW, P.USAGE_VIEW, P.AUDIT_VIEW, P.OPERATION_VIEW, P.TENANT_EXPORT, P.TOKEN_VIEW, P.TOKEN_OWN]
SECRETS = ("hunter2-user-data", "hunter2-display", "hunter2-password")


@pytest.fixture
def house() -> House:
    """A tenant with something of everything, secrets among it."""
    house = factories.tenant_with_owner("acme")
    guest = factories.guest(house, "web-1", tags=["web"])
    factories.guest(house, "db-1", tags=["db"])
    factories.network(house, "blue")
    with tenant_scope(house.tenant):
        key_create(house.tenant, name="laptop", public_key=factories.public_key(), actor=house.actor)
        token_create(house.owner, name="script", actor=house.actor, tenant=house.tenant)
        row = Guest.objects.get(pk=guest.pk)
        row.user_data, row.display_password, row.password_hash = SECRETS
        row.save()
    return house


def exported(token: str, house: House) -> list[dict[str, Any]]:
    answer = Rest(token).get(f"{house.url}/export")
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.decode().splitlines()]


def test_everything_is_in_it_and_its_end_says_so(house: House) -> None:
    head, *rows, end = exported(house.token, house)

    assert set(head["sections"]) == set(_sections)
    assert head["without"] == []
    assert end == {"end": True, "lines": len(rows)}
    by_section = {name: [row for row in rows if row["section"] == name] for name in _sections}
    assert {row["name"] for row in by_section["guests"]} == {"web-1", "db-1"}
    web = next(row for row in by_section["guests"] if row["name"] == "web-1")
    assert (web["vcpus"], web["tags"], len(web["ports"][0]["addresses"])) == (1, ["web"], 1)
    assert "blue" in {row["name"] for row in by_section["networks"]}
    assert [row["name"] for row in by_section["ssh_keys"]] == ["laptop"]
    assert [row["name"] for row in by_section["tokens"]] == ["script"]
    assert house.owner.email in {row["email"] for row in by_section["members"]}
    assert by_section["usage"]
    assert [row["seq"] for row in by_section["audit"]] == list(range(1, len(by_section["audit"]) + 1))
    assert by_section["audit"][-1]["action"] == "tenant.export", "that data left is written down"


def test_nothing_secret_is_in_it(house: House) -> None:
    text = Rest(house.token).get(f"{house.url}/export").body.decode()

    row = ApiToken.objects.get(name="script")
    for secret in (*SECRETS, row.digest, house.token, factories.PASSWORD, house.owner.password):
        assert secret not in text
    assert Guest._base_manager.filter(tenant=house.tenant)[0].host.name not in text


def test_another_tenants_things_are_not_in_it(house: House) -> None:
    other = factories.tenant_with_owner("other")
    factories.guest(other, "theirs")

    assert "theirs" not in Rest(house.token).get(f"{house.url}/export").body.decode()
    assert Rest(house.token).get(f"{other.url}/export").status == 404


def test_a_reader_gets_what_they_may_read_and_is_told_what_is_missing(house: House) -> None:
    _person, token = factories.member_with(house.tenant, BOOKS)

    head, *rows, _end = exported(token, house)

    assert "guests" in head["without"]
    assert {row["section"] for row in rows} <= {"project", "quota", "usage", "audit", "operations", "tokens"}


def test_whoever_sees_only_their_own_tokens_exports_only_those(house: House) -> None:
    person, token = factories.member_with(house.tenant, BOOKS)
    with tenant_scope(house.tenant):
        for owner in (person, house.owner):
            actor = factories.actor_in(house.tenant, owner)
            token_create(owner, name="script", tenant=house.tenant, actor=actor)

    _head, *rows, _end = exported(token, house)

    assert {row["user__email"] for row in rows if row["section"] == "tokens"} == {person.email}


def test_whoever_sees_some_machines_exports_those(house: House) -> None:
    _person, token = factories.member_with(
        house.tenant, [P.GUEST_VIEW, P.VOLUME_VIEW, P.OPERATION_VIEW, P.TENANT_EXPORT], tags=["web"]
    )

    _head, *rows, _end = exported(token, house)

    assert {row["name"] for row in rows if row["section"] == "guests"} == {"web-1"}
    assert {row["guest__name"] for row in rows if row["section"] == "volumes"} == {"web-1"}
    assert {row["subject_name"] for row in rows if row["section"] == "operations"} == {"web-1"}


def test_a_suspended_or_closing_tenant_still_exports(house: House) -> None:
    tenant_suspend(house.tenant, reason="", actor=factories.desk())
    assert exported(house.token, house)[-1]["end"]

    tenant_close(house.tenant, confirm="acme", actor=factories.desk())
    assert exported(house.token, house)[-1]["end"]


def test_a_page_gives_the_same_file(house: House) -> None:
    client = browser(house.owner)

    answer = client.get("/t/acme/settings/export/")

    assert answer["Content-Disposition"] == 'attachment; filename="acme.jsonl"'
    assert json.loads(answer.getvalue().splitlines()[-1])["end"]


def test_it_is_written_as_it_is_read(house: House) -> None:
    """Neither memory nor queries grow with what there is, beyond a query for each piece."""
    with tenant_scope(house.tenant):
        seed = UsageInterval.objects.first()
        assert seed is not None
        rows = [
            UsageInterval(
                tenant=house.tenant, resource_type="guest", resource_id=seed.pk, meter=f"m{number}", quantity=1,
                started_at=seed.started_at, ended_at=seed.started_at,
            )
            for number in range(20_000)
        ]  # fmt: skip
        UsageInterval.objects.bulk_create(rows, batch_size=1000)
        rows.clear()

        lines = tenant_export(house.tenant, actor=house.actor)
    assert current_scope() is None
    tracemalloc.start()
    with CaptureQueriesContext(connection) as queries:
        size = sum(len(line) for line in lines)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 20_000 * 100
    assert peak < 16 * 1024 * 1024
    assert len(queries) < 60 < 20_000 // CHUNK * 3
    with tenant_scope(house.tenant):
        assert AuditEntry.objects.filter(action="tenant.export").count() == 1


def test_only_who_may_export_exports(house: House) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="viewer")
    _row, token = token_create(person, name="t", actor=factories.desk())

    assert Rest(token).get(f"{house.url}/export").status == 403

"""Tokens cut by tag and network, of the project itself, renewed with an overlap, found by what they begin with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.access import actor_for_token
from tenants.models import ApiToken, Member, Role
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.members import member_remove
from tenants.services.roles import role_named
from tenants.services.tokens import Scope, token_create, token_revoke, token_rotate
from tests import factories
from tests.portal.api.rest import Rest
from vms.consoles import tickets
from vms.services.consoles import LONGEST

pytestmark = pytest.mark.django_db
P = Permission


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner("acme")


def made(house: factories.House, **wish: Any) -> tuple[ApiToken, str]:
    with tenant_scope(house.tenant):
        return token_create(house.owner, name="ci", actor=house.actor, tenant=house.tenant, **wish)


def service(house: factories.House, role: str = "member", **wish: Any) -> tuple[ApiToken, str]:
    with tenant_scope(house.tenant):
        return token_create(None, name="robot", actor=house.actor, tenant=house.tenant, role=role_named(role), **wish)


def renew(house: factories.House, token: ApiToken, overlap: timedelta) -> tuple[ApiToken, str]:
    with tenant_scope(house.tenant):
        return token_rotate(token, overlap=overlap, actor=house.actor)


def end(house: factories.House, token: ApiToken) -> None:
    with tenant_scope(house.tenant):
        token_revoke(token, actor=house.actor)


@pytest.mark.parametrize(
    ("networks", "address", "opens"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "198.51.100.7", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "192.0.2.7", False),
        (["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1", True),
        (["192.0.2.0/24"], "", False),
        (["192.0.2.0/24"], "not an address", False),
        ([], "", True),
    ],
)
def test_a_token_works_from_its_networks_only(
    house: factories.House, networks: list[str], address: str, opens: bool
) -> None:
    _token, raw = made(house, scope=Scope(networks=networks))

    assert (actor_for_token(raw, house.tenant, address=address) is not None) is opens


def test_from_elsewhere_the_answer_is_that_of_a_dead_token(house: factories.House) -> None:
    _token, raw = made(house, scope=Scope(networks=["192.0.2.0/24"]))
    dead, raw_dead = made(house)
    end(house, dead)

    elsewhere, gone = (Rest(text).get(f"{house.url}/guests") for text in (raw, raw_dead))

    assert elsewhere.status == gone.status == 401
    assert {**elsewhere.json, "request_id": ""} == {**gone.json, "request_id": ""}


def test_a_token_of_tags_reaches_machines_that_wear_one(house: factories.House) -> None:
    qa, other = factories.guest(house, tags=["qa"]), factories.guest(house, tags=["prod"])
    _token, raw = made(house, scope=Scope(tags=["qa"]))
    rest = Rest(raw)

    assert [guest["id"] for guest in rest.get(f"{house.url}/guests").json["items"]] == [str(qa.pk)]
    assert rest.get(f"{house.url}/guests/{other.pk}").status == 404
    assert rest.get(f"{house.url}/networks").status == 200, "what is no machine is not narrowed"


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({"networks": ["192.0.2.1/24"]}, "/networks"),
        ({"networks": ["anywhere"]}, "/networks"),
        ({"networks": ["10.0.0.0/8"] * 21}, "/networks"),
        ({"tags": ["a b\n"]}, "/tags"),
        ({"tags": ["x" * 33]}, "/tags"),
        ({"tags": ["QA"]}, "/tags"),
        ({"tags": [f"t{n}" for n in range(21)]}, "/tags"),
        ({"permissions": ["guest.fly"]}, "/permissions"),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused_at_its_field(
    house: factories.House, scope: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        made(house, scope=Scope(**scope))
    assert [error.pointer for error in refusal.value.errors] == [field]


def test_a_token_hands_on_no_more_tags_or_networks_than_it_has(house: factories.House) -> None:
    _token, raw = made(house, scope=Scope(tags=["qa"], networks=["127.0.0.0/8", "192.0.2.0/24"]))
    rest = Rest(raw)

    child = rest.post(f"{house.url}/tokens", {"name": "child"})
    tags = rest.post(f"{house.url}/tokens", {"name": "wide", "tags": ["prod"]})
    networks = rest.post(f"{house.url}/tokens", {"name": "wide", "networks": ["192.0.0.0/16"]})
    narrower = rest.post(f"{house.url}/tokens", {"name": "narrow", "networks": ["192.0.2.128/25"]})

    assert child.status == 201, child
    assert (child.json["tags"], child.json["networks"]) == (["qa"], ["127.0.0.0/8", "192.0.2.0/24"])
    assert (tags.json["code"], networks.json["code"]) == ("beyond_own_role", "beyond_own_role")
    assert narrower.json["networks"] == ["192.0.2.128/25"]


def test_a_service_token_outlives_whoever_made_it_and_follows_its_role(house: factories.House) -> None:
    second = factories.user()
    factories.join(house.tenant, second, role="owner")
    token, raw = service(house, "viewer")
    with tenant_scope(house.tenant):
        member_remove(Member.objects.get(user=house.owner), actor=factories.actor_in(house.tenant, second))

    actor = actor_for_token(raw, house.tenant)

    assert actor is not None
    assert actor.user is None
    assert actor.may(P.GUEST_VIEW)
    assert not actor.may(P.GUEST_POWER)
    assert actor.label == f"token robot ({token.prefix})"
    assert Rest(raw).get(f"{house.url}/guests").status == 200
    assert Rest(raw).get("/me").json["user"] is None
    assert actor_for_token(raw, factories.tenant_with_owner().tenant) is None


def test_what_a_service_token_does_stands_in_the_log_by_its_name(house: factories.House) -> None:
    token, raw = service(house, "admin")
    rest = Rest(raw)

    assert rest.post(f"{house.url}/networks", {"name": "lan"}).status in (201, 202)
    entry = Rest(house.token).get(f"{house.url}/audit-events?action=network.create").json["items"][0]

    assert entry["actor"] == f"token robot ({token.prefix})"
    assert entry["via"] == "token"


def test_nobody_makes_a_service_token_stronger_than_themselves(house: factories.House) -> None:
    helper, _token = factories.member_with(house.tenant, {P.TOKEN_MANAGE, P.TOKEN_OWN, P.GUEST_VIEW})
    actor = factories.actor_in(house.tenant, helper)

    with tenant_scope(house.tenant), pytest.raises(Forbidden):
        token_create(None, name="robot", actor=actor, tenant=house.tenant, role=role_named("admin"))


def test_a_rotated_token_opens_with_both_texts_until_the_overlap_is_over(
    house: factories.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, old = made(house)

    token, new = renew(house, token, timedelta(hours=1))

    assert actor_for_token(old, house.tenant) is not None
    assert actor_for_token(new, house.tenant) is not None
    monkeypatch.setattr("tenants.services.tokens.now", lambda: now() + timedelta(minutes=61))
    assert actor_for_token(old, house.tenant) is None
    assert actor_for_token(new, house.tenant) is not None


def test_without_overlap_and_after_a_second_rotation_the_old_text_is_dead(house: factories.House) -> None:
    token, first = made(house)
    token, second = renew(house, token, timedelta(hours=1))
    token, third = renew(house, token, timedelta())

    assert [actor_for_token(raw, house.tenant) is not None for raw in (first, second, third)] == [False, False, True]


def test_a_revoked_token_is_dead_under_both_texts(house: factories.House) -> None:
    token, old = made(house)
    token, new = renew(house, token, timedelta(hours=1))

    end(house, token)

    assert actor_for_token(old, house.tenant) is None
    assert actor_for_token(new, house.tenant) is None
    with pytest.raises(Conflict):
        renew(house, token, timedelta())


def test_a_personal_token_is_renewed_by_its_owner_alone(house: factories.House) -> None:
    admin, _token = factories.member_with(house.tenant, {P.TOKEN_MANAGE, P.TOKEN_OWN})
    token, _raw = made(house)

    with pytest.raises(Forbidden):
        token_rotate(token, overlap=timedelta(), actor=factories.actor_in(house.tenant, admin))


def test_a_token_renews_itself_and_no_other(house: factories.House) -> None:
    mine, raw = made(house, scope=Scope(["token.own", "token.view"]))
    other, _raw = made(house)

    renewed = Rest(raw).post(f"{house.url}/tokens/{mine.pk}/rotate", {"overlap_s": 0})
    assert renewed.status == 200, renewed
    assert Rest(raw).get(f"{house.url}/tokens").status == 401
    refused = Rest(renewed.json["token"]).post(f"{house.url}/tokens/{other.pk}/rotate", {})
    assert (refused.status, refused.json["code"]) == (403, "not_this_token")


@pytest.mark.parametrize("overlap", [-1, 7 * 86400 + 1])
def test_an_overlap_has_bounds(house: factories.House, overlap: int) -> None:
    token, _raw = made(house)

    with pytest.raises(Invalid):
        renew(house, token, timedelta(seconds=overlap))


def test_a_leaked_token_is_found_by_what_it_begins_with(house: factories.House) -> None:
    token, raw = made(house)
    made(house)
    renew(house, token, timedelta(hours=1))

    found = Rest(house.token).get(f"{house.url}/tokens?prefix={raw[:11]}").json["items"]

    assert [item["id"] for item in found] == [str(token.pk)]


def test_where_a_token_was_last_used_is_told(house: factories.House) -> None:
    token, raw = made(house)

    actor_for_token(raw, house.tenant, address="192.0.2.7")

    token.refresh_from_db()
    assert token.last_used_address == "192.0.2.7"
    assert token.last_used_at is not None


@pytest.mark.parametrize("hours", [1, 100])
def test_a_console_ends_no_later_than_the_token_that_opened_it(house: factories.House, hours: int) -> None:
    guest = factories.guest(house)
    token, raw = made(house, scope=Scope(expires_at=now() + timedelta(hours=hours)))

    opened = Rest(raw).post(f"{house.url}/guests/{guest.pk}/console", {"kind": "vnc"})

    grant = tickets.redeem(Redis.from_url(settings.REDIS_URL), opened.json["ticket"])
    assert grant is not None
    assert token.expires_at is not None
    latest = token.expires_at if hours == 1 else now() + LONGEST
    assert grant.expires_at <= latest.timestamp()


def test_members_see_their_own_tokens_and_managers_all(house: factories.House) -> None:
    made(house)
    person = factories.user()
    factories.join(house.tenant, person, role="viewer")
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, person)
        _mine, raw = token_create(person, name="mine", actor=actor, tenant=house.tenant)

    assert [item["name"] for item in Rest(raw).get(f"{house.url}/tokens").json["items"]] == ["mine"]
    assert {item["name"] for item in Rest(house.token).get(f"{house.url}/tokens").json["items"]} == {"ci", "mine"}


def test_the_database_keeps_personal_and_service_apart(house: factories.House) -> None:
    from django.db import IntegrityError, transaction

    role = Role._base_manager.get(name="viewer", tenant=None)
    for wrong in ({"user": house.owner, "role": role}, {}, {"role": role, "tenant": None}):
        facts = {"tenant": house.tenant, **wrong}
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiToken.objects.create(name="x", prefix="gh_x", digest="d", **facts)

"""Tickets: single use, short-lived, unreadable in redis, dead after a revocation."""

from __future__ import annotations

import dataclasses
import secrets
import threading

import pytest
from redis import Redis

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import make_grant
from vms.consoles import registry, tickets
from vms.consoles.origins import origin_of
from vms.consoles.tickets import Kind


def test_a_ticket_gives_back_what_was_granted(redis: Redis) -> None:
    grant = make_grant(kind=Kind.SERIAL, writable=False, log_path="/log")

    redeemed = tickets.redeem(redis, tickets.issue(redis, grant))

    assert redeemed is not None
    assert dataclasses.replace(redeemed, mark="") == grant


def test_a_ticket_works_with_clients_that_decode_and_with_those_that_do_not(private_redis: str, redis: Redis) -> None:
    decoding = Redis.from_url(private_redis, decode_responses=True)

    assert tickets.redeem(decoding, tickets.issue(redis, make_grant()))
    assert tickets.redeem(redis, tickets.issue(decoding, make_grant()))
    decoding.close()


def test_a_ticket_is_good_once_however_many_try(redis: Redis) -> None:
    ticket = tickets.issue(redis, make_grant())
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda: won.append(tickets.redeem(redis, ticket) is not None)) for _ in range(20)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False] * 19 + [True]


def test_a_ticket_dies_of_age(redis: Redis) -> None:
    ticket = tickets.issue(redis, make_grant(), ttl_s=1)
    wait_until(lambda: not redis.keys(f"{registry.PREFIX}ticket:*"), timeout_s=3, what="the ticket to expire")

    assert tickets.redeem(redis, ticket) is None


def test_a_ticket_for_a_session_that_is_over_opens_nothing(redis: Redis) -> None:
    assert tickets.redeem(redis, tickets.issue(redis, make_grant(expires_at=1.0))) is None


@pytest.mark.parametrize("ticket", ["", "x", "a" * 43, "a" * 44, "../../etc/passwd", "ü" * 43, "a" * 42 + "\n"])
def test_what_is_no_ticket_opens_nothing(redis: Redis, ticket: str) -> None:
    assert tickets.redeem(redis, ticket) is None


def test_a_ticket_has_256_bits(redis: Redis) -> None:
    issued = {tickets.issue(redis, make_grant()) for _ in range(50)}

    assert len(issued) == 50
    assert all(len(ticket) == 43 for ticket in issued)


def test_a_dump_of_redis_opens_nothing_and_shows_no_password(redis: Redis) -> None:
    """P-A3, P-A8."""
    password = secrets.token_hex(4)
    ticket = tickets.issue(redis, make_grant(password=password, target="/run/secret-place"))

    dump = b"".join(key + (redis.get(key) or b"") for key in redis.keys(f"{registry.PREFIX}ticket:*"))

    assert dump
    for secret in (ticket, password, "secret-place"):
        assert secret.encode() not in dump


def test_a_grant_shows_no_password_when_printed() -> None:
    assert "geheim12" not in repr(make_grant())


@pytest.mark.parametrize(
    "hit", [["user"], ["tenant"], ["guest"], ["session"], ["user", "tenant"], ["guest", "session"]]
)
def test_a_revocation_kills_tickets_not_yet_redeemed(redis: Redis, hit: list[str]) -> None:
    grant = make_grant()
    ticket, other = tickets.issue(redis, grant), tickets.issue(redis, make_grant())

    registry.revoke(redis, reason="signed_out", **{name: getattr(grant, name) for name in hit})

    assert tickets.redeem(redis, ticket) is None
    assert tickets.redeem(redis, other) is not None


def test_a_revocation_needs_all_it_names(redis: Redis) -> None:
    grant = make_grant()
    ticket = tickets.issue(redis, grant)

    registry.revoke(redis, reason="member_removed", user=grant.user, tenant="another")

    assert tickets.redeem(redis, ticket) is not None


def test_a_ticket_issued_after_a_revocation_is_good(redis: Redis) -> None:
    grant = make_grant()
    registry.revoke(redis, reason="signed_out", user=grant.user)

    assert tickets.redeem(redis, tickets.issue(redis, grant)) is not None


def test_a_revocation_between_the_check_and_the_ticket_kills_it(redis: Redis) -> None:
    grant = make_grant()
    since = registry.mark(redis)
    registry.revoke(redis, reason="member_removed", user=grant.user)

    assert tickets.redeem(redis, tickets.issue(redis, grant, since=since)) is None


def test_a_revocation_of_nobody_is_a_mistake(redis: Redis) -> None:
    with pytest.raises(ValueError, match="at least one"):
        registry.revoke(redis, reason="oops")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://Portal.Example:443/t/", "https://portal.example"),
        ("http://portal:443", "http://portal:443"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["", "portal.example", "/t/acme"])
def test_an_address_without_a_host_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        origin_of(url)

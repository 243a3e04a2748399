"""P-D9, P-A6, I9: into a machine by its agent, which is hostile; what it says is cleaned, what is told to it is kept nowhere."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test import Client

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Invalid
from tenants.journal.models import AuditEntry
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import KEY, Bench
from vms.hypervisor.driver import AgentFacts
from vms.models import Guest
from vms.names import serial_log
from vms.services.guests import guest_add_keys, guest_set_password
from vms.services.guests.inside import LOG_BYTES, plain_log
from vms.states import Power

pytestmark = pytest.mark.django_db
CANARY = "canary-4b1d horse"
ESCAPES = b"\x1b]52;c;aGk=\x07\x1b[2J\x1b[31mred\x1b[0m\x1bPq#0\x1b\\\x00\x9b5n\x1b"


def done(bench: Bench, guest: Guest, verb: str, body: object = None) -> Operation:
    answer = Rest(bench.house.token).post(f"{bench.house.url}/guests/{guest.pk}/{verb}", body)
    assert answer.status == 202, answer
    run(answer.json["id"])
    return Operation.objects.get(pk=answer.json["id"])


def test_a_password_is_handed_to_the_agent_as_a_hash_and_stands_nowhere(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    guest = bench.guest()

    operation = done(bench, guest, "password", {"password": CANARY, "user": "web"})

    assert operation.status == "succeeded"
    told = bench.on_host.passwords[str(guest.pk), "web"]
    assert told.startswith("$6$")
    row = bench.fresh(guest)
    assert (row.new_password, row.password_hash) == ("", told)
    with connection.cursor() as cursor:
        cursor.execute("SELECT new_password, password_hash FROM vms_guest")
        stored = str(cursor.fetchall())
    with every_tenant(why="test"):
        written = str(list(AuditEntry.objects.values())) + str(list(Operation.objects.values()))
    for text in (stored, written, caplog.text):
        assert CANARY not in text
        assert told not in text


def test_an_agent_that_is_silent_fails_in_a_sentence_and_changes_nothing(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.agent.clear()

    for verb, body in (("password", {"password": CANARY}), ("keys", {"ssh_keys": [KEY]}), ("reported", None)):
        operation = done(bench, guest, verb, body)
        assert (operation.status, operation.error_code) == ("failed", "agent_silent"), verb
        assert "agent" in operation.error_message

    row = bench.fresh(guest)
    assert (row.new_password, row.password_hash, row.ssh_keys, row.problem_code) == ("", "", [], "")
    assert (row.want_power, row.seen_power) == (Power.RUNNING, Power.RUNNING)
    assert bench.findings() == []


def test_a_key_is_added_once_and_shown_with_the_machine(bench: Bench) -> None:
    guest = bench.guest()

    for _ in range(2):
        assert done(bench, guest, "keys", {"ssh_keys": [KEY]}).status == "succeeded"

    user = bench.image.default_user
    assert bench.on_host.keys[str(guest.pk), user] == [KEY]
    assert bench.fresh(guest).ssh_keys == [KEY]


@pytest.mark.parametrize("user", ["root\n", "-x", "a b", "x" * 33, "$(id)", "ü"])
def test_a_user_that_is_none_is_refused(user: str, bench: Bench) -> None:
    guest = bench.guest()

    with tenant_scope(bench.house.tenant):
        with pytest.raises(Invalid):
            guest_set_password(guest, "secret", actor=bench.house.actor, user=user)
        with pytest.raises(Invalid):
            guest_add_keys(guest, [KEY], actor=bench.house.actor, user=user)


@pytest.mark.parametrize("password", ["", "a\nb", "x" * 129, "\x00"])
def test_a_password_that_is_none_is_refused(password: str, bench: Bench) -> None:
    guest = bench.guest()

    with tenant_scope(bench.house.tenant), pytest.raises(Invalid):
        guest_set_password(guest, password, actor=bench.house.actor)


def test_keys_that_are_none_and_too_many_are_refused(bench: Bench) -> None:
    guest = bench.guest()

    with tenant_scope(bench.house.tenant):
        for keys in (["ssh-ed25519 x"], [f"{KEY}\n{KEY}"], [], [factories.public_key() for _ in range(21)]):
            with pytest.raises(Invalid):
                guest_add_keys(guest, keys, actor=bench.house.actor)


def test_a_machine_that_is_off_takes_neither(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict):
        guest_set_password(guest, "secret", actor=bench.house.actor)


def test_what_a_guest_says_of_itself_is_text_and_nothing_else(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.agent[str(guest.pk)] = AgentFacts("<script>alert(1)</script>", "Tiny <b>", ("10.9.9.9",))

    assert done(bench, guest, "reported").status == "succeeded"

    said = Rest(bench.house.token).get(f"{bench.house.url}/guests/{guest.pk}/reported").json
    assert (said["hostname"], said["addresses"]) == ("<script>alert(1)</script>", ["10.9.9.9"])
    shown = page(bench, guest)
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert" not in shown
    assert "10.9.9.9" not in str(Rest(bench.house.token).get(f"{bench.house.url}/guests/{guest.pk}").json)


def page(bench: Bench, guest: Guest, client: Client | None = None) -> str:
    client = client or browser(bench.house.owner)
    return client.get(f"/t/{bench.house.tenant.slug}/machines/{guest.pk}/?tab=inside").content.decode()


def test_a_serial_log_is_shown_without_what_would_move_a_terminal(bench: Bench) -> None:
    """P-A6."""
    guest = bench.guest()
    nasty = (
        b"<script>x</script>\r\n" + ESCAPES + "\u202eevil".encode() + b"\xff\xfe\n" + b"A" * (1 << 20) + b"\nlogin: "
    )
    bench.on_host.logs[serial_log(guest.pk)] = nasty

    assert done(bench, guest, "console-log").status == "succeeded"

    answer = Rest(bench.house.token).get(f"{bench.house.url}/guests/{guest.pk}/console-log")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("login: ")
    assert len(answer.body) <= LOG_BYTES
    assert "login: " in page(bench, guest)


def test_nothing_that_moves_a_terminal_is_left() -> None:
    text = plain_log(b"<b>\r\none\rtwo\t" + ESCAPES + "\u202e\u2028x".encode() + b"\xff")

    assert text.startswith("<b>\none\ntwo\tred")
    assert all(letter.isprintable() or letter in "\n\t" for letter in text)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_picture_is_png_and_for_those_alone_who_may_open_the_console(bench: Bench) -> None:
    guest = bench.guest()
    url = f"{bench.house.url}/guests/{guest.pk}/screenshot"
    viewer = factories.user()
    factories.join(bench.house.tenant, viewer, role="viewer")
    assert Rest(bench.house.token).get(url).status == 404

    assert done(bench, guest, "screenshot").status == "succeeded"

    answer = Rest(bench.house.token).get(url)
    assert (answer.headers["Content-Type"], answer.body[:4]) == ("image/png", b"\x89PNG")
    assert Rest(factories.token_of(viewer)).get(url).status == 403
    assert "No picture" not in page(bench, guest)
    assert "gh-shot" not in page(bench, guest, browser(viewer))


def test_the_dialogs_ask_the_agent(bench: Bench) -> None:
    guest = bench.guest()
    client = browser(bench.house.owner)
    base = f"/t/{bench.house.tenant.slug}/machines/{guest.pk}"

    asked = client.post(f"{base}/password/", {"user": "web", "password": CANARY})
    busy = client.post(f"{base}/keys/", {"user": "web", "public_key": KEY})
    run(Operation.objects.get(kind="guest.password").pk)
    taken = client.post(f"{base}/keys/", {"user": "web", "public_key": KEY})

    assert (asked.status_code, busy.status_code, taken.status_code) == (302, 422, 302)
    assert CANARY not in busy.content.decode()
    assert json.loads(json.dumps(Operation.objects.get(kind="guest.keys").params))["keys"] == [KEY]

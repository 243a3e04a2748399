"""Mail: written with what it tells, sent at least once, given up in the end, and never a way into a header."""

from __future__ import annotations

import smtplib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.settings.env import mailer
from tenants.models import Letter
from tenants.services import letters
from tests import factories
from tests.architecture.test_pages import browser
from tests.support.crowd import together

pytestmark = pytest.mark.django_db
faults: list[BaseException | None] = []


class Faulty(EmailBackend):
    """A mail server that raises what ``faults`` says next; nothing left: it takes the letter."""

    def send_messages(self, messages: Any) -> int:
        fault = faults.pop(0) if faults else None
        if isinstance(fault, Killed):
            super().send_messages(messages)
        if fault is not None:
            raise fault
        return super().send_messages(messages)


class Killed(BaseException):
    """The worker's end, after the server has the letter and before that is written down."""


@pytest.fixture(autouse=True)
def faulty(settings: Any) -> None:
    faults.clear()
    cache.delete("letters:sending")
    settings.MAILERS = {"default": {"BACKEND": "tests.tenants.test_letters.Faulty"}}


def written(to: str = "a@example.test") -> Letter:
    return letters.letter_write(to=to, subject="Hello", body="https://portal.test/secret")


def send(at: datetime | None = None) -> int:
    moment = at or now()
    return letters.letters_send(clock=lambda: moment)


def fresh(letter: Letter) -> Letter:
    letter.refresh_from_db()
    return letter


def test_a_letter_leaves_once_and_keeps_no_body() -> None:
    letter = written()

    assert (send(), send()) == (1, 0)

    assert [(m.to, m.subject, m.body) for m in mail.outbox] == [
        (["a@example.test"], "Hello", "https://portal.test/secret")
    ]
    assert fresh(letter).sent_at is not None
    assert letter.body == ""


def test_the_body_is_not_readable_in_the_database() -> None:
    written()

    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM tenants_letter")
        (body,) = cursor.fetchone()

    assert "secret" not in body


def test_a_change_that_is_undone_tells_nobody() -> None:
    with transaction.atomic():
        written()
        transaction.set_rollback(True)

    assert send() == 0


def test_commit_rings_a_worker(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr("celery.current_app.send_task", lambda name, **_: rung.append(name))

    with django_capture_on_commit_callbacks(execute=True):
        written()

    assert rung == ["tenants.tasks.letters_send"]


def test_a_worker_that_dies_after_sending_leaves_a_letter_that_is_sent_again() -> None:
    """At least once, and the second copy has the first one's Message-ID."""
    letter = written()
    faults.append(Killed())

    with pytest.raises(Killed):
        send()

    assert fresh(letter).sent_at is None
    assert send() == 0, "it belongs to the dead worker for a while"
    assert send(now() + letters.TAKEN_FOR + timedelta(seconds=1)) == 1
    assert len({m.extra_headers["Message-ID"] for m in mail.outbox}) == 1
    assert len(mail.outbox) == 2


def test_a_letter_that_kills_every_worker_ends_too() -> None:
    letter = written()
    at = now()

    for _ in range(letters.MOST_ATTEMPTS):
        faults[:] = [Killed()]
        with pytest.raises(Killed):
            send(at)
        at += letters.TAKEN_FOR + timedelta(seconds=1)

    assert send(at) == 0
    assert fresh(letter).given_up_at is not None


def test_a_server_that_is_away_is_asked_again_later_and_then_given_up() -> None:
    letter = written()
    at = now()
    waits = []

    for _ in range(letters.MOST_ATTEMPTS):
        faults[:] = [ConnectionRefusedError(111, "Connection refused")]
        send(at)
        waits.append(fresh(letter).due_at - at)
        at = letter.due_at

    assert waits[:3] == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    assert letter.given_up_at is not None
    assert "Connection refused" in letter.error
    assert letter.body, "an operator may have it tried again"


def test_a_server_that_is_away_is_not_asked_once_per_letter() -> None:
    for n in range(5):
        written(f"p{n}@example.test")
    faults[:] = [TimeoutError(), RuntimeError("asked twice")]

    assert send() == 0
    assert Letter.objects.filter(attempts=0).count() == 4


@pytest.mark.parametrize(
    ("fault", "final"),
    [
        (smtplib.SMTPRecipientsRefused({"a@example.test": (550, b"no such user")}), True),
        (smtplib.SMTPRecipientsRefused({"a@example.test": (451, b"later")}), False),
        (smtplib.SMTPDataError(554, b"looks like spam"), True),
        (smtplib.SMTPDataError(452, b"disk full"), False),
        (smtplib.SMTPSenderRefused(550, b"who are you", "us@example.test"), False),
        (smtplib.SMTPAuthenticationError(535, b"no"), False),
    ],
    ids=str,
)
def test_only_a_refusal_of_the_letter_itself_is_final(fault: Exception, final: bool) -> None:
    letter = written()
    faults[:] = [fault]

    send()

    assert (fresh(letter).given_up_at is not None) is final


def test_one_refused_letter_does_not_hold_up_the_next() -> None:
    refused, other = written(), written("b@example.test")
    faults[:] = [smtplib.SMTPRecipientsRefused({"a@example.test": (550, b"no")})]

    assert send() == 1
    assert fresh(refused).given_up_at is not None
    assert fresh(other).sent_at is not None


@pytest.mark.parametrize("subject", ["a\nBcc: b@example.test", "a\rb", "a\x00b", "a\u2028b", " "])
def test_a_subject_cannot_become_a_header(subject: str) -> None:
    with pytest.raises(Invalid):
        letters.letter_write(to="a@example.test", subject=subject, body="x")


@pytest.mark.parametrize(
    "to", ["a@example.test\nBcc: b@example.test", "a@example.test, b@example.test", "A <a@example.test>", "x" * 250 + "@e.test"]
)  # fmt: skip
def test_an_address_is_one_address(to: str) -> None:
    with pytest.raises(Invalid):
        letters.letter_write(to=to, subject="x", body="x")


def test_what_was_given_up_is_tried_again_when_an_operator_asks() -> None:
    letter, house = written(), factories.tenant_with_owner()
    faults[:] = [smtplib.SMTPDataError(554, b"spam")]
    send()

    with pytest.raises(Forbidden):
        letters.letter_retry(letter, actor=house.actor)
    letters.letter_retry(letter, actor=factories.desk())
    assert send() == 1
    with pytest.raises(Conflict):
        letters.letter_retry(letter, actor=factories.desk())


def test_letters_that_ended_are_forgotten_and_those_that_wait_are_not(settings: Any) -> None:
    sent, waiting = written(), written("b@example.test")
    faults[:] = [None, TimeoutError()]
    send()

    assert letters.letters_forget(at=now() + timedelta(days=29)) == 0
    assert letters.letters_forget(at=now() + timedelta(days=31)) == 1
    assert not Letter.objects.filter(pk=sent.pk).exists()
    assert Letter.objects.filter(pk=waiting.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_many_workers_send_each_letter_once() -> None:
    for n in range(10):
        written(f"p{n}@example.test")

    def work() -> int:
        cache.delete("letters:sending")  # as if each were the only one
        return letters.letters_send()

    counts = together([work] * 6)

    assert sum(n for n in counts if isinstance(n, int)) == 10
    assert sorted(m.to[0] for m in mail.outbox) == sorted(f"p{n}@example.test" for n in range(10))


def test_operators_see_what_was_given_up_and_have_it_sent_again() -> None:
    letter, (person, _token) = written(), factories.operator()
    faults[:] = [smtplib.SMTPDataError(554, b"spam")]
    send()
    client = browser(person)

    dashboard = client.get("/operator/").content.decode()
    listed = client.get("/operator/tenants/letter/?state=given_up").content.decode()
    page = client.get(f"/operator/tenants/letter/{letter.pk}/change/").content.decode()

    assert "1 letter could not be sent" in dashboard
    assert "SMTPDataError" in listed
    assert "portal.test/secret" not in page


def test_without_a_mail_server_letters_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)
    settings.MAILERS = {"default": mailer(tmp_path / "mail")}
    written()

    assert send() == 1

    (file,) = (tmp_path / "mail").iterdir()
    assert "https://portal.test/secret" in file.read_text()

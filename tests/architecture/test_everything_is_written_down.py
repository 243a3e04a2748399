"""Whatever changes something, over REST or from a page, leaves an entry in an audit log.

Deeds of the operators' site: ``tests/portal/admin/test_written_down.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests import factories
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE, Row
from tests.architecture.test_pages import browser, path
from tests.architecture.world import World, body_for, build
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
CHANGES = ("POST", "PUT", "PATCH", "DELETE")
WRITE = re.compile(r'^(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')
LOGS = {"tenants_auditentry", "tenants_installationentry"}
NOT_THE_TENANTS = {
    "django_session": "who is signed in where",
    "usersessions_usersession": "who is signed in where",
    "tenants_apitoken": "when a token was last used; a change of the token itself writes more",
    "django_admin_log": "the operators' site's own log",
}
"""Tables in which a write alone needs no entry, and why."""
READ = "somebody has read what they were told"
LOOK = "only looks at the host; what it is done with stands in the list of operations"
SILENT_ROUTES = {"POST /me/notices/read": READ, "POST /hosts/{host_id}/test": LOOK}
SILENT_PAGES = {"POST tenants:notice_open": READ, "POST tenants:notice_read_all": READ}
"""What changes rows and leaves no entry, and why."""


def tables_written(deed: Callable[[], Any]) -> tuple[set[str], Any]:
    """The tables that a deed wrote to, and its answer; of which nothing stays."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            answer = deed()
        transaction.set_rollback(True)
    hits = [WRITE.match(query["sql"]) for query in queries.captured_queries]
    return {hit[1] for hit in hits if hit}, answer


def is_silent(written: set[str]) -> bool:
    """Was something changed that no entry tells of?"""
    return bool(written - set(NOT_THE_TENANTS)) and not written & LOGS


def test_every_change_over_rest_is_written_down(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 100_000
    world = build()
    _person, token = factories.operator()
    silent, refused = {}, set()

    for row in TABLE:
        if row.method in CHANGES:
            written, answer = tables_written(lambda row=row: ask(Rest(token), world, row))
            if answer.status >= 400:
                refused.add(f"{row.method} {row.route}")
            elif is_silent(written):
                silent[f"{row.method} {row.route}"] = written

    assert set(silent) <= set(SILENT_ROUTES)
    assert len(refused) < 30, "most of them must be done for this test to mean anything"


def ask(rest: Rest, world: World, row: Row) -> Any:
    return rest.ask(row.method, world.path(row.route), body_for(world, row))


def test_every_change_from_a_page_is_written_down() -> None:
    world = build()
    client = browser(world.house.owner)
    silent = {}

    for row in PAGES:
        if row.method in CHANGES:
            written, answer = tables_written(lambda row=row: client.generic(row.method, path(row, world)))
            if answer.status_code < 400 and is_silent(written):
                silent[f"{row.method} {row.name}"] = written

    assert set(silent) == set(SILENT_PAGES)

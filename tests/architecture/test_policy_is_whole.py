"""Every way in and every piece of work has a row that says who may, and no row is about what is not there (P-C2)."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest
from allauth.socialaccount.models import SocialApp
from django.contrib import admin
from django.db import transaction

import vms.handlers  # noqa: F401  (what workers carry out)
from operations import registry
from operations.models import Operation
from operations.routing import websocket_urlpatterns
from operations.services import operation_claim, operation_submit
from operations.services.barring import is_barred
from portal.admin_base import ServiceAdmin
from portal.api import METHODS
from portal.celery import app
from portal.core.errors import Forbidden
from portal.core.ids import uuid7
from portal.schedule import SCHEDULE
from tenants.actors import SYSTEM, Actor, system_actor
from tenants.models import Member, Tenant
from tenants.policy import ALL_TENANT_PERMISSIONS
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_remove
from tenants.services.tenants import tenant_suspend
from tests import factories
from tests.architecture import doors, work
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE
from tests.architecture.sources import calls, modules
from tests.architecture.test_pages import NAMESPACES, ask, browser, path
from tests.architecture.world import body_for, build
from tests.operations.kinds import Subject
from tests.portal.admin.rows import one_of_each
from tests.portal.api.rest import Rest
from vms.consoles.tickets import Kind
from vms.states import Power

API = "api/v1"
app.loader.import_default_modules()
POWERLESS = Actor(user=None, tenant=None, permissions=frozenset(), via="browser")


# --- every thing has a row ------------------------------------------------------------------------------------------
def test_every_address_has_a_row() -> None:
    rest = {f"{API}{row.route}".replace("{", "<").replace("}", ">") for row in TABLE}
    pages = {row.name for row in PAGES}
    site = {f"operator/{label.replace('.', '/')}/{page}" for label in doors.SITE for page in doors.SITE_PAGES}
    found = {pattern: name for pattern, name in doors.addresses() if name.partition(":")[0] not in NAMESPACES}

    assert {name for _pattern, name in doors.addresses() if name.partition(":")[0] in NAMESPACES} == pages
    assert set(found) == rest | site | set(doors.ROUTES)


def test_every_model_of_the_operators_site_has_a_row_with_its_deeds() -> None:
    found = {}
    for model, shown in admin.site._registry.items():
        assert isinstance(shown, ServiceAdmin)
        found[model._meta.label_lower] = tuple(shown.deeds)
        mass = {str(action.__name__) for action in shown.actions or () if callable(action)}
        assert mass <= set(shown.deeds), f"{model.__name__} offers {mass} in its list"

    assert found == doors.SITE
    assert [name for name, _action in admin.site.actions] == []


def test_every_websocket_has_a_row() -> None:
    found = [(str(route.pattern), route.callback.consumer_class.__name__) for route in websocket_urlpatterns]

    assert found == [(line.address, line.consumer) for line in doors.LINES]


def test_every_group_has_a_row() -> None:
    joins = {
        (path, ast.unparse(call.args[0]))
        for path, tree in modules().items()
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "group_add"
    }

    assert joins == set(doors.GROUPS)


def test_every_kind_of_console_has_a_row_and_one_place_makes_and_one_takes_tickets() -> None:
    handled = {
        (path, call.func.attr)
        for path, tree in modules().items()
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "tickets"
        and call.func.attr in ("issue", "redeem")
    }  # fmt: skip

    assert {kind.value for kind in Kind} == set(doors.CONSOLES)
    assert handled == set(doors.TICKETS.items())


def test_every_task_has_a_row() -> None:
    ours = {name for name in app.tasks if not name.startswith(work.CELERYS_OWN)}

    assert ours == {row.name for row in work.TASKS}
    assert {entry["task"] for entry in SCHEDULE.values()} <= ours


def test_every_kind_of_operation_has_a_row_and_a_handler() -> None:
    kinds = registry.kinds()

    assert set(kinds) == {row.kind for row in work.KINDS}
    assert registry.handled() == {name for name, kind in kinds.items() if not kind.group}


# --- and the rows are true ------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_page_takes_no_method_without_a_row() -> None:
    world = build()
    client = browser(world.house.owner)
    rows = {(row.method, row.name) for row in PAGES}
    first = {row.name: row for row in PAGES}

    taken = [
        (method, row.name, answer.status_code)
        for row in first.values()
        for method in METHODS
        if (method, row.name) not in rows
        and (answer := ask(client, row._replace(method=method), path(row, world))).status_code not in (403, 404, 405)
    ]

    assert taken == []


@pytest.mark.django_db
def test_what_a_request_sets_going_is_asked_for_as_its_kind_says(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 100_000
    asked = {row.kind: row.permission for row in work.KINDS}
    seen = set()

    for power in Power.RUNNING, Power.STOPPED:
        world = build()
        _person, token = factories.operator()
        world.ids["guest_id"] = str(factories.guest(world.house, power=power).pk)
        for row in TABLE:
            if row.method == "GET":
                continue
            with transaction.atomic():
                known = set(Operation.objects.values_list("pk", flat=True))
                Rest(token).ask(row.method, world.path(row.route), body_for(world, row))
                asked_for = Operation.objects.exclude(pk__in=known).exclude(requested_label=SYSTEM)
                made = set(asked_for.values_list("kind", flat=True))
                transaction.set_rollback(True)
            assert {asked[kind] for kind in made} <= {row.permission, *row.also}, (row, made)
            seen |= made

    assert {"guest.create", "guest.stop", "guest.start", "guest.delete", "network.delete", "host.probe"} <= seen


@pytest.mark.parametrize("row", work.TASKS, ids=lambda row: str(row.name))
def test_a_task_is_told_ids_and_nothing_else(row: work.Task) -> None:
    """P-I2."""
    parameters = inspect.signature(app.tasks[row.name].run).parameters

    assert all(name.endswith("_id") for name in parameters)


@pytest.mark.django_db
@pytest.mark.parametrize("row", work.TASKS, ids=lambda row: str(row.name))
def test_a_forged_message_of_a_task_changes_nothing(row: work.Task) -> None:
    """P-I2: whoever can write into Redis can only hurry what is due."""
    house = factories.tenant_with_owner()
    factories.guest_building(house)
    before = state(house)
    task = app.tasks[row.name]
    names = inspect.signature(task.run).parameters

    for forged in (str(uuid7()), "'; DROP TABLE x; --", "") if names else ("",):
        task.run(*(forged for _name in names))

    assert state(house) == before


def state(house: factories.House) -> list[Any]:
    """What a tenant has, and what is done for it."""
    with tenant_scope(house.tenant):
        guests = list(factories.Guest.objects.values_list("pk", "want_power", "seen_power", "purge_after"))
    return [*guests, *Operation.objects.order_by("pk").values_list("pk", "status")]


PEOPLES = [
    row for row in work.KINDS if row.permission in ALL_TENANT_PERMISSIONS and not registry.kind_of(row.kind).group
]


@pytest.mark.django_db
@pytest.mark.parametrize("row", PEOPLES, ids=lambda row: str(row.kind))
def test_what_was_accepted_goes_on_after_who_asked_has_left(row: work.Work) -> None:
    """P-C5: as the rule of ``work`` says, for every kind that a tenant's people ask for."""
    house = factories.tenant_with_owner()
    assert row.permission is not None
    person, _token = factories.member_with(house.tenant, [row.permission])
    operation = asked_by(factories.actor_in(house.tenant, person), row.kind)

    with tenant_scope(house.tenant):
        member_remove(Member.objects.get(user=person), actor=house.actor)

    assert operation_claim(operation.pk, worker="w") is not None


@pytest.mark.django_db
@pytest.mark.parametrize("row", PEOPLES, ids=lambda row: str(row.kind))
def test_what_was_accepted_does_not_begin_in_a_suspended_tenant(row: work.Work) -> None:
    """P-C5, P-C9: the tenant's standing is looked at again when a worker takes it; what the portal itself asks for goes on."""
    house = factories.tenant_with_owner()
    theirs, ours = asked_by(house.actor, row.kind), asked_by(system_actor(house.tenant, why="bin"), row.kind)

    Operation.objects.filter(pk__in=[theirs.pk, ours.pk]).update(status="running")  # past what is called off at once
    tenant_suspend(house.tenant, reason="", actor=factories.desk())
    rows = Operation.objects.select_related("tenant", "requested_by").in_bulk([theirs.pk, ours.pk])

    assert is_barred(rows[theirs.pk])
    assert not is_barred(rows[ours.pk])


def asked_by(actor: Any, kind: str) -> Operation:
    with transaction.atomic():
        return operation_submit(Subject(actor.tenant), kind=kind, actor=actor)


@pytest.mark.django_db
@pytest.mark.parametrize("label", [label for label, deeds in doors.SITE.items() if deeds])
def test_a_deed_asks_once_more_whether_it_is_allowed(label: str) -> None:
    """The site lets operators in alone; were it left open, the service behind each deed would still refuse."""
    rows = one_of_each()
    model, shown = next(pair for pair in admin.site._registry.items() if pair[0]._meta.label_lower == label)
    assert isinstance(shown, ServiceAdmin)

    for deed in shown.deeds.values():
        row = None if deed.adds else rows[model]
        named = {
            "tenants.tenant": {"role": "viewer"} if deed.name == "welcome" else {},
            "tenants.signindomain": {
                "tenant": rows[Tenant],
                "provider": rows[SocialApp].provider_id,
                "role": "viewer",
            },
        }
        with every_tenant(why="test"):
            fields = deed.form(row=row).fields
        answers = {**dict.fromkeys(fields, ""), **named.get(label, {})}
        with pytest.raises(Forbidden), transaction.atomic(), every_tenant(why="test"):
            getattr(shown, deed.name)(row, POWERLESS, answers)

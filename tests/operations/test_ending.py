"""How an operation ends: done, refused, broken, called off, too late; settled once, and its parent with it."""

from __future__ import annotations

import pytest
from django.db import transaction

from operations import runner, services
from operations.models import Operation, OperationLock
from operations.runner import Retry, Run, run
from operations.selectors import operation_can_cancel
from operations.services import Failure, operation_cancel, operation_fail, operation_retry, operations_expire
from operations.states import LIVE, MOVES, TERMINAL, Status, may_move
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden
from tenants.journal.models import Event
from tenants.policy import Permission
from tenants.scoping import UnscopedQuery, current_scope, tenant_scope
from tests import factories
from tests.operations.kinds import due, kind, lapse, submit
from tests.support.crowd import together
from vms.models import Network


def nothing(work: Run) -> None:
    """A handler with nothing to do."""


@pytest.mark.parametrize("before", Status)
def test_what_is_over_stays_over(before: Status) -> None:
    assert set(Status) == LIVE | TERMINAL
    for after in Status:
        assert may_move(before, after) == (after in MOVES[before])
    if before in TERMINAL:
        assert not MOVES[before]


@pytest.mark.django_db
def test_a_handler_sees_the_operations_tenant_and_no_other() -> None:
    house, other = factories.tenant_with_owner(), factories.tenant_with_owner()
    factories.network(house, "mine")
    factories.network(other, "theirs")
    seen: list[list[str]] = []

    def look(work: Run) -> None:
        seen.append(list(Network.objects.values_list("name", flat=True)))

    with kind(look):
        assert run(submit(house).pk) == Status.SUCCEEDED
    assert seen == [["mine"]]
    assert current_scope() is None
    with pytest.raises(UnscopedQuery):
        list(Network.objects.all())


@pytest.mark.django_db
def test_success_is_said_step_by_step_and_settled_once() -> None:
    house = factories.tenant_with_owner()

    def work_on(work: Run) -> None:
        work.say("First", 10)
        work.say("Second", 60)
        work.say("Second", 30)

    with kind(work_on) as ledger:
        operation = submit(house)
        with tenant_scope(house.tenant):
            before = Event.objects.count()
        assert run(operation.pk) == Status.SUCCEEDED
        assert run(operation.pk) is None

    operation.refresh_from_db()
    assert [step["step"] for step in operation.steps] == ["First", "Second"]
    assert (operation.progress, operation.error_code) == (100, "")
    assert operation.finished_at is not None
    assert ledger.settled == [(operation.pk, "succeeded")]
    assert not OperationLock.objects.exists()
    with tenant_scope(house.tenant):
        said = Event.objects.filter(seq__gt=before, resource_id=str(operation.pk), type="operation.changed")
        assert said.count() == 5


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "code"),
    [(Conflict(code="refused"), "refused"), (RuntimeError("secret path /etc/x"), "broken"), (KeyError("k"), "broken")],
    ids=["refusal", "bug", "another bug"],
)
def test_anything_but_silence_ends_it_with_a_sentence_for_people(error: Exception, code: str) -> None:
    def fails(work: Run) -> None:
        raise error

    with kind(fails) as ledger:
        operation = submit(factories.tenant_with_owner())
        assert run(operation.pk) == Status.FAILED

    operation.refresh_from_db()
    assert operation.error_code == code
    assert operation.error_message
    assert "/etc/x" not in operation.error_message + operation.error_hint
    assert ledger.settled == [(operation.pk, "failed")]


@pytest.mark.django_db
def test_silence_is_tried_again_later_with_its_lane_closed_until_the_deadline() -> None:
    def silent(work: Run) -> None:
        raise Retry("Waiting for the host", detail="no answer")

    with kind(silent) as ledger:
        operation = submit(lane="host.a")
        waits = []
        for _ in range(8):
            due(operation)
            services.lane_open("host.a")
            began = now()
            assert run(operation.pk) == Status.QUEUED
            operation.refresh_from_db()
            waits.append((operation.not_before - began).total_seconds())
            assert services.operation_claim(operation.pk, worker="early") is None
        assert operation.step == "Waiting for the host"
        assert [round(wait) for wait in waits] == sorted(round(wait) for wait in waits)
        assert 0.5 < waits[0] < 2
        assert 20 < waits[-1] <= 40, "capped"
        assert ledger.settled == []

        Operation.objects.update(deadline_at=now(), not_before=now())
        services.lane_open("host.a")
        assert run(operation.pk) == Status.FAILED
        operation.refresh_from_db()
        assert operation.error_code == "host_unreachable"
        assert ledger.settled == [(operation.pk, "failed")]


# --- calling off ----------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_waiting_work_is_called_off_at_once() -> None:
    house = factories.tenant_with_owner()
    with kind(nothing) as ledger:
        operation = submit(house)
        with tenant_scope(house.tenant):
            assert operation_cancel(operation, actor=house.actor).status == Status.CANCELLED
        with pytest.raises(Conflict), tenant_scope(house.tenant):
            operation_cancel(operation, actor=house.actor)
        assert run(operation.pk) is None
    assert ledger.settled == [(operation.pk, "cancelled")]


@pytest.mark.django_db
def test_running_work_is_called_off_before_its_next_effect() -> None:
    house = factories.tenant_with_owner()
    done: list[str] = []

    def called_off_midway(work: Run) -> None:
        with work.effect("one"):
            done.append("one")
        operation_cancel(work.operation, actor=house.actor)
        with work.effect("two"):
            done.append("two")

    with kind(called_off_midway, cancellable=True) as ledger:
        operation = submit(house)
        assert run(operation.pk) == Status.CANCELLED
    assert done == ["one"]
    assert ledger.settled == [(operation.pk, "cancelled")]


@pytest.mark.django_db
def test_long_work_that_gets_no_further_is_alive_and_can_be_called_off() -> None:
    """A download of unknown length, or of a percent a minute, gave no sign of life, and its worker was ended."""
    seen: list[bool] = []

    def fetch(work: Run) -> None:
        work.say("Fetching", 5)
        for _chunk in range(2):
            work.moved = long_ago = work.moved - 2 * runner.TICK_S
            work.tick("Fetching", 5)
            seen.append(work.moved > long_ago)
            Operation.objects.filter(pk=operation.pk).update(cancel_requested_at=now())

    with kind(fetch, cancellable=True):
        operation = submit()
        assert run(operation.pk) == Status.CANCELLED
    assert seen == [True]


@pytest.mark.django_db
def test_work_that_cannot_be_called_off_goes_on() -> None:
    house = factories.tenant_with_owner()

    def resists(work: Run) -> None:
        with pytest.raises(Conflict) as refusal:
            operation_cancel(work.operation, actor=house.actor)
        assert refusal.value.code == "not_cancellable"

    with kind(resists):
        assert run(submit(house).pk) == Status.SUCCEEDED


@pytest.mark.django_db
def test_work_that_has_done_what_is_not_undone_goes_through_also_when_it_waits_again() -> None:
    house = factories.tenant_with_owner()
    passes: list[str] = []

    def swap(work: Run) -> None:
        if not work.operation.goes_through:
            work.go_through()
        with pytest.raises(Conflict) as refusal:
            operation_cancel(work.operation, actor=house.actor)
        passes.append(refusal.value.code)
        if len(passes) == 1:
            raise Retry("the host is silent")

    with kind(swap, cancellable=True):
        operation = submit(house)
        assert run(operation.pk) == Status.QUEUED
        operation.refresh_from_db()
        assert not operation_can_cancel(operation)
        with pytest.raises(Conflict):
            operation_cancel(operation, actor=house.actor)
        Operation.objects.update(not_before=now())
        assert run(operation.pk) == Status.SUCCEEDED
    assert passes == ["not_cancellable"] * 2


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["its worker dies", "its host is silent"])
def test_work_called_off_ends_so_even_if_its_worker_does_not_hear_it(how: str) -> None:
    house = factories.tenant_with_owner()

    def deaf(work: Run) -> None:
        operation_cancel(work.operation, actor=house.actor)
        raise Retry("silent")

    with kind(deaf, cancellable=True) as ledger:
        operation = submit(house)
        if how == "its worker dies":
            claimed = services.operation_claim(operation.pk, worker="w")
            assert claimed is not None
            with tenant_scope(house.tenant):
                operation_cancel(operation, actor=house.actor)
            lapse(operation)
            list(operations_expire())
        else:
            run(operation.pk)
        operation.refresh_from_db()
    assert operation.status == Status.CANCELLED
    assert ledger.settled == [(operation.pk, "cancelled")]


@pytest.mark.django_db
def test_calling_off_needs_the_permission_and_the_tenant() -> None:
    house, other = factories.tenant_with_owner(), factories.tenant_with_owner()
    viewer, _token = factories.member_with(house.tenant, {Permission.OPERATION_VIEW})
    with kind():
        operation = submit(house)
        for actor in (factories.actor_in(house.tenant, viewer), other.actor):
            with pytest.raises(Forbidden), tenant_scope(house.tenant):
                operation_cancel(operation, actor=actor)
        with pytest.raises(Forbidden):
            operation_retry(operation, actor=house.actor)


# --- parents and children -------------------------------------------------------------------------------------------
def family(house: factories.House, count: int) -> tuple[Operation, list[Operation]]:
    parent = submit(house, name="test.group", holds=[])
    return parent, [submit(house, parent=parent) for _ in range(count)]


@pytest.mark.django_db
@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_parent_ends_with_its_last_child_and_says_how_many_failed(failures: int) -> None:
    house = factories.tenant_with_owner()
    with kind(nothing), kind(name="test.group", group=True) as parents:
        parent, children = family(house, 3)
        for number, child in enumerate(children):
            parent.refresh_from_db()
            assert (parent.status, parent.progress) == ("running", 100 * number // 3)
            if number < failures:
                operation_fail(child, Failure("refused", "No."))
            else:
                run(child.pk)

    parent.refresh_from_db()
    assert parent.status == ("failed" if failures else "succeeded")
    assert parents.settled == [(parent.pk, parent.status)]
    assert parent.error_code == ("some_failed" if failures else "")


@pytest.mark.django_db
def test_calling_off_a_parent_calls_off_what_still_can_be() -> None:
    house = factories.tenant_with_owner()
    with kind(nothing) as ledger, kind(name="test.group", group=True):
        parent, children = family(house, 3)
        run(children[0].pk)
        assert services.operation_claim(children[1].pk, worker="w") is not None
        with tenant_scope(house.tenant):
            operation_cancel(parent, actor=house.actor)

        statuses = [Operation.objects.get(pk=child.pk).status for child in children]
        assert statuses == ["succeeded", "running", "cancelled"]
        parent.refresh_from_db()
        assert parent.status == "running"
        assert len(ledger.settled) == 2


@pytest.mark.django_db(transaction=True)
def test_a_parent_called_off_while_its_children_end_never_deadlocks() -> None:
    """A child's end locks the child, then its parent; calling off must not lock the other way round."""
    house = factories.tenant_with_owner()

    def cancel(parent: Operation) -> None:
        with tenant_scope(house.tenant):
            operation_cancel(parent, actor=house.actor)

    with kind(nothing) as ledger, kind(name="test.group", group=True):
        for _ in range(5):
            parent, children = family(house, 6)
            answers = together([*(lambda c=c: run(c.pk) for c in children), lambda p=parent: cancel(p)])

            errors = [a for a in answers if isinstance(a, Exception) and not isinstance(a, Conflict)]
            assert errors == []
            parent.refresh_from_db()
            assert parent.status in TERMINAL
            assert sorted(pk for pk, _status in ledger.settled) == sorted(child.pk for child in children)
            ledger.settled.clear()


@pytest.mark.django_db(transaction=True)
def test_whoever_ends_an_operation_at_once_with_others_it_is_settled_exactly_once() -> None:
    house = factories.tenant_with_owner()
    with kind() as ledger:
        for _ in range(5):
            operation = submit(house)
            claimed = services.operation_claim(operation.pk, worker="w")
            assert claimed is not None
            finish = [lambda c=claimed: services.operation_finish(c, worker="w")] * 5
            fail = [lambda o=operation: operation_fail(o, Failure("late", "Late."))] * 5

            answers = together([*finish, *fail])

            assert sorted(map(str, answers)) == ["False"] * 9 + ["True"]
            assert len(ledger.settled) == 1
            ledger.settled.clear()


@pytest.mark.django_db
def test_an_end_whose_settling_fails_did_not_happen() -> None:
    def cannot(operation: Operation) -> None:
        raise RuntimeError("cannot settle")

    with kind(nothing, settle=cannot):
        operation = submit()
        with pytest.raises(RuntimeError), transaction.atomic():
            operation_fail(operation, Failure("x", "X."))
        operation.refresh_from_db()
        assert operation.status == "queued"
        assert operation.locks.exists()


@pytest.mark.django_db
def test_work_whose_success_cannot_be_settled_has_failed() -> None:
    """It stayed running until its lease lapsed, and was done anew until its deadline."""
    ended: list[str] = []

    def not_as_success(operation: Operation) -> None:
        if operation.status == Status.SUCCEEDED:
            raise Conflict(code="name_taken")
        ended.append(operation.status)

    with kind(nothing, settle=not_as_success):
        operation = submit()
        assert run(operation.pk) == Status.FAILED

    operation.refresh_from_db()
    assert (operation.error_code, operation.progress, ended) == ("name_taken", 0, ["failed"])
    assert not operation.locks.exists()


@pytest.mark.django_db
def test_what_cannot_be_ended_keeps_no_other_from_its_end() -> None:
    def cannot(operation: Operation) -> None:
        if operation.pk == stuck.pk:
            raise RuntimeError("cannot settle")

    with kind(nothing, settle=cannot):
        stuck, other = submit(), submit()
        Operation.objects.update(deadline_at=now())

        assert list(operations_expire()) == [stuck.pk]

        assert Operation.objects.get(pk=other.pk).error_code == "timed_out"

"""A watcher listens to the hosts whose lease it holds, and to no other for longer than it takes to notice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tenants.scoping import every_tenant
from tests import factories
from vms.models import Host
from vms.reconcile import watch
from vms.reconcile.watch import Ear, Watcher

pytestmark = pytest.mark.django_db


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> dict[Any, bool]:
    """Whose lease the watcher gets, by host; those not named it does."""
    answers: dict[Any, bool] = {}
    monkeypatch.setattr(watch, "host_listen", lambda host, **_: answers.get(host.pk, True))
    return answers


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """A watcher whose ears hear nothing until the test is over."""
    one, over = Watcher(), threading.Event()

    def listen(host: Host) -> None:
        ear = Ear(host.pk, host.name, host.uri, thread=threading.Thread(target=over.wait))
        assert ear.thread is not None
        ear.thread.start()
        one.ears[host.pk] = ear

    one._listen = listen  # type: ignore[method-assign]
    threads = one.ears
    yield one
    over.set()
    for ear in threads.values():
        assert ear.thread is not None
        ear.thread.join()


def test_an_ear_ends_where_another_watcher_has_the_lease(watcher: Watcher, leases: dict[Any, bool]) -> None:
    mine, lost = factories.host_up(), factories.host_up()
    watcher._look_after()
    assert {mine.pk, lost.pk} <= watcher.ears.keys()
    kept = watcher.ears[mine.pk]

    leases[lost.pk] = False
    watcher._look_after()

    assert lost.pk not in watcher.ears
    assert watcher.ears[mine.pk] is kept


def test_an_ear_ends_with_the_use_of_its_host(watcher: Watcher, leases: dict[Any, bool]) -> None:
    host = factories.host_up()
    watcher._look_after()

    with every_tenant(why="test"):
        Host.objects.filter(pk=host.pk).update(enabled=False)
    watcher._look_after()

    assert host.pk not in watcher.ears


def test_who_comes_back_late_leaves_its_successors_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    host, dropped = factories.host_up(), []
    monkeypatch.setattr(watch.connections, "get", lambda uri: (_ for _ in ()).throw(RuntimeError("cut")))
    monkeypatch.setattr(watch.connections, "drop", dropped.append)
    monkeypatch.setattr(watch.connection, "close", lambda: None)
    one = Watcher()
    late, successor = (Ear(host.pk, host.name, host.uri) for _ in range(2))

    one.ears[host.pk] = successor
    one._hear(late)
    assert dropped == []

    one._hear(successor)
    assert dropped == [host.uri]

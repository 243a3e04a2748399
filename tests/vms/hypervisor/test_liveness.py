"""A host that hangs, dies or is not there costs seconds, never a worker; and what a fork inherits is not used."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from vms.hypervisor import fake, libvirt_driver, pool
from vms.hypervisor.errors import Refused, Unreachable
from vms.hypervisor.libvirt_driver.wire import Endpoint, endpoint, knock


@pytest.fixture
def frozen(lab_host: Host) -> Iterator[Host]:
    lab_host.freeze()
    yield lab_host
    lab_host.thaw()


@pytest.mark.parametrize("kind", ["uri", "tcp_uri", "tls_uri"])
def test_a_living_daemon_answers_a_knock_on_every_way_in(lab_host: Host, kind: str):
    knock(getattr(lab_host, kind), deadline_s=3)


@pytest.mark.parametrize("kind", ["uri", "tls_uri"])
def test_a_connection_works_on_every_way_in(lab_host: Host, kind: str):
    hypervisor = libvirt_driver.connect(getattr(lab_host, kind))

    assert hypervisor.facts().hostname == lab_host.name
    hypervisor.close()


@pytest.mark.parametrize("kind", ["uri", "tcp_uri", "tls_uri"])
def test_a_frozen_daemon_is_unreachable_within_the_deadline(frozen: Host, kind: str):
    start = time.monotonic()

    with pytest.raises(Unreachable):
        libvirt_driver.connect(getattr(frozen, kind), deadline_s=0.5)

    assert time.monotonic() - start < 2


def test_an_open_connection_to_a_frozen_daemon_is_not_alive(lab_host: Host):
    hypervisor = libvirt_driver.connect(lab_host.uri)
    lab_host.freeze()
    try:
        with pytest.raises(Unreachable):
            hypervisor.alive(deadline_s=0.5)
    finally:
        lab_host.thaw()
    hypervisor.alive()
    hypervisor.close()


def test_a_killed_daemon_closes_the_connection_and_the_pool_opens_a_new_one(lab_host: Host):
    reasons: list[str] = []
    before = pool.get(lab_host.uri)
    before.subscribe(lambda _event: None, reasons.append)

    lab_host.kill_daemon()

    with pytest.raises(Unreachable):
        before.domains()
    wait_until(lambda: reasons or None, timeout_s=5, what="no word of the closed connection")
    with pytest.raises(Unreachable):
        pool.get(lab_host.uri)
    lab_host.start_daemon()
    after = pool.get(lab_host.uri)
    assert after is not before
    assert after.facts().hostname == lab_host.name
    assert pool.get(lab_host.uri) is after
    pool.drop(lab_host.uri)


def test_nobody_home_is_unreachable_at_once(tmp_path: Path):
    with pytest.raises(Unreachable):
        libvirt_driver.connect(f"qemu+unix:///system?socket={tmp_path}/none")


def test_something_else_behind_the_socket_is_unreachable(tmp_path: Path):
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_greet, args=(listener,), daemon=True).start()

        with pytest.raises(Unreachable):
            libvirt_driver.connect(f"qemu+unix:///system?socket={path}", deadline_s=1)


def _greet(listener: socket.socket) -> None:
    line, _peer = listener.accept()
    with line:
        line.sendall(b"RFB 003.008\n" * 100)
        line.recv(1)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu:///system?socket=/run/x", Endpoint("unix", path="/run/x")),
        ("qemu+unix:///system?socket=/run/x", Endpoint("unix", path="/run/x")),
        ("test+unix:///default?socket=/run/x", Endpoint("unix", path="/run/x")),
        ("qemu+tcp://[fd00::1]:1234/system", Endpoint("tcp", host="fd00::1", port=1234)),
        ("qemu://kvm1/system", Endpoint("tls", host="kvm1", port=16514)),
        ("qemu+tls://kvm1/system?pkipath=/p&no_verify=1", Endpoint("tls", "", "kvm1", 16514, "/p", verify=False)),
        ("qemu+ssh://root@kvm1/system", None),
        ("qemu:///session", None),
        ("test:///default", None),
    ],
)
def test_a_uri_tells_where_to_knock(uri: str, expected: Endpoint | None):
    assert endpoint(uri) == expected


# --- forks ----------------------------------------------------------------------------------------------------------

_FORK = multiprocessing.get_context("fork")


def _child(uri: str, answers: Queue[str]) -> None:
    try:
        answers.put(pool.get(uri).facts().hostname)
    except Refused as error:
        answers.put(error.detail)
    pool.close_all()


def _grandparent(uri: str, answers: Queue[str], opens_itself: bool) -> None:
    """A process of its own, so that whether it opened a connection does not depend on the tests before."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    if opens_itself:
        pool.get(uri)
    children = [_FORK.Process(target=_child, args=(uri, answers)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)


@pytest.mark.parametrize("opens_itself", [False, True], ids=["after-the-fork", "before-the-fork"])
def test_workers_open_their_own_connections_after_the_fork(lab_host: Host, opens_itself: bool):
    spawn = multiprocessing.get_context("spawn")
    answers: Queue[str] = spawn.Queue()
    parent = spawn.Process(target=_grandparent, args=(lab_host.uri, answers, opens_itself))
    parent.start()

    said = [answers.get(timeout=30) for _ in range(3)]

    parent.join(20)
    assert parent.exitcode == 0
    if opens_itself:
        assert all("only after forking" in each for each in said)
    else:
        assert said == [lab_host.name] * 3


# --- the pool, in memory --------------------------------------------------------------------------------------------


@pytest.fixture
def far() -> Iterator[fake.FakeHost]:
    fake.forget_hosts()
    pool.register("fake", fake.connect)
    yield fake.host("far")
    pool.drop("fake://far")


def test_the_pool_keeps_one_connection_a_host(far: fake.FakeHost):
    assert pool.get("fake://far") is pool.get("fake://far")


def test_the_pool_drops_a_dead_connection_and_says_so(far: fake.FakeHost):
    before = pool.get("fake://far")
    far.fall_silent()

    with pytest.raises(Unreachable):
        pool.get("fake://far")

    far.speak_again()
    assert pool.get("fake://far") is not before


def test_a_hanging_host_does_not_hold_up_another(far: fake.FakeHost):
    release = far.hang("alive")
    pool.get("fake://far")
    stuck = threading.Thread(target=pool.get, args=("fake://far",))
    stuck.start()
    wait_until(lambda: far.calls["alive"] or None, timeout_s=5, what="nobody asked")

    assert pool.get("fake://near").facts().hostname == "near"

    release.set()
    stuck.join(5)
    pool.drop("fake://near")


def test_the_host_in_memory_fails_at_the_call_it_is_told(far: fake.FakeHost):
    hypervisor = fake.connect("fake://far")
    far.fail("facts", Refused("no"), at=2)

    assert hypervisor.facts().hostname == "far"
    with pytest.raises(Refused):
        hypervisor.facts()
    assert hypervisor.facts().hostname == "far"


def test_the_host_in_memory_can_lose_an_answer_after_the_effect(far: fake.FakeHost):
    hypervisor = fake.connect("fake://far")
    far.fail("ensure_pool", Unreachable("lost"), after=True)

    with pytest.raises(Unreachable):
        hypervisor.ensure_pool("p", "/srv/p")

    assert hypervisor.pool("p") is not None

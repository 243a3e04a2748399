"""The watcher: one thread a host that keeps a connection, hears its events and looks at it every few seconds.

Which watcher listens to which host is a lease in the database, so several may run. A host whose thread is stuck in a call
is given up by the lease of that thread, not by this process; the heartbeat simply stops, and the host turns suspect.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings
from django.db import close_old_connections, connection

from portal.core.clock import now
from tenants.scoping import every_tenant
from vms.hypervisor import errors
from vms.hypervisor import pool as connections
from vms.hypervisor.driver import Hypervisor, PowerEvent, SeenDomain
from vms.models import Guest, Host
from vms.names import Owner
from vms.reconcile.converge import display_of, guest_id
from vms.reconcile.sample import Sampler
from vms.selectors.installation import installation_owner
from vms.services.guests.observe import Observation, guest_record_observation
from vms.services.hosts import host_listen, host_record_heartbeat
from vms.services.liveness import WATCHER_KEY
from vms.states import Power

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 5.0
LEASE_S = 20.0
STUCK_S = 30.0


@dataclass(slots=True)
class Ear:
    """One host being listened to; ``beat`` is the monotonic time of its last sign of life."""

    host_id: UUID
    name: str
    uri: str
    thread: threading.Thread | None = None
    beat: float = field(default_factory=time.monotonic)


class Watcher:
    """Looks after one ``Ear`` for every host whose lease it has."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"[:64]
        self.stop = threading.Event()
        self.ears: dict[UUID, Ear] = {}

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        log.info("watcher_started", watcher=self.name)
        while not self.stop.is_set():
            try:
                close_old_connections()
                self._look_after()
                self._say_alive()
            except Exception:
                log.exception("watcher_round_failed")
            self.stop.wait(2)
        log.info("watcher_stopped")

    def _look_after(self) -> None:
        """An ear for each host whose lease is ours; one whose host is another's now, or no longer used, ends by itself."""
        hosts = list(Host.objects.filter(enabled=True))
        for pk in self.ears.keys() - {host.pk for host in hosts}:
            del self.ears[pk]
        for host in hosts:
            ear = self.ears.get(host.pk)
            if ear is not None and ear.thread is not None and ear.thread.is_alive():
                if time.monotonic() - ear.beat < STUCK_S:
                    if not host_listen(host, watcher=self.name, seconds=LEASE_S):
                        del self.ears[host.pk]
                    continue
                log.warning("ear_stuck", host=host.name)
            if host_listen(host, watcher=self.name, seconds=LEASE_S):
                self._listen(host)

    def _listen(self, host: Host) -> None:
        ear = Ear(host.pk, host.name, host.uri)
        self.ears[host.pk] = ear
        ear.thread = threading.Thread(target=self._hear, args=(ear,), name=f"ear-{host.name}", daemon=True)
        ear.thread.start()

    def _hear(self, ear: Ear) -> None:
        """Connect, subscribe, look; then hear events and look again, until the line breaks."""
        try:
            with every_tenant(why="a host carries guests of many tenants"):
                host = Host.objects.get(pk=ear.host_id)
                hearing = Hearing(host, installation_owner(), connections.get(host.uri), ear)
                hearing.run(self)
        except errors.HypervisorError as error:
            log.info("host_not_heard", host=ear.name, code=error.code, detail=error.detail)
        except Exception:
            log.exception("ear_failed", host=ear.name)
        finally:
            if self.ears.get(ear.host_id) in (ear, None):  # else a successor speaks through the line of that address
                connections.drop(ear.uri)
            connection.close()

    def _say_alive(self) -> None:
        try:
            redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2).set(WATCHER_KEY, self.name, ex=15)
        except redis.RedisError as error:
            log.warning("watcher_cannot_say_alive", detail=str(error))


class Hearing:
    """A live line to one host."""

    def __init__(self, host: Host, owner: Owner, hv: Hypervisor, ear: Ear) -> None:
        self.host, self.owner, self.hv, self.ear = host, owner, hv, ear
        self.events: queue.SimpleQueue[PowerEvent | None] = queue.SimpleQueue()
        self.sampler = Sampler(host, hv)

    def run(self, watcher: Watcher) -> None:
        """Returns when the watcher stops, another one took over, or the line broke."""
        self.hv.subscribe(self.events.put, self._closed)
        self._look()
        looked = time.monotonic()
        while not watcher.stop.is_set() and watcher.ears.get(self.ear.host_id) is self.ear:
            self.sampler.tick()
            event = self._next(LOOK_EVERY_S - (time.monotonic() - looked))
            if event is self._BROKEN:
                return
            if isinstance(event, PowerEvent):
                self._take(event)
            if time.monotonic() - looked >= LOOK_EVERY_S:
                self._look()
                looked = time.monotonic()

    _BROKEN: Any = None
    _NOTHING = object()

    def _next(self, seconds: float) -> Any:
        try:
            return self.events.get(timeout=max(0.05, seconds))
        except queue.Empty:
            return self._NOTHING

    def _closed(self, reason: str) -> None:
        log.info("line_closed", host=self.host.name, reason=reason)
        self.events.put(None)

    def _look(self) -> None:
        """Every domain of ours, by one cheap call that asks no guest's monitor; and the heartbeat that this is."""
        at = now()
        domains = self.hv.domains()
        self.ear.beat = time.monotonic()
        if host_record_heartbeat(self.host):
            log.info("host_up", host=self.host.name)
        ours = {pk: domain for domain in domains if (pk := guest_id(domain, self.owner)) is not None}
        stored = dict(Guest.objects.filter(pk__in=list(ours)).values_list("pk", "seen_power"))
        for pk, power in stored.items():
            domain = ours[pk]
            if domain.power != power:
                self._record(domain, at)
        gone = (
            Guest.objects.filter(host=self.host, binned_at=None, built_at__isnull=False)
            .exclude(seen_power=Power.ABSENT)
            .exclude(pk__in=list(ours))
        )
        for pk in gone.values_list("pk", flat=True):
            guest_record_observation(pk, Observation(Power.ABSENT, "not defined", at=at), host=self.host)

    def _take(self, event: PowerEvent) -> None:
        """One event: look at that one domain, since what it says may be over already."""
        at = now()
        domain = self.hv.domain(event.domain)
        self.ear.beat = time.monotonic()
        if domain is None:
            guest_record_observation(event.domain, Observation(Power.ABSENT, event.reason, at=at), host=self.host)
        elif guest_id(domain, self.owner) is not None:
            self._record(domain, at)

    def _record(self, domain: SeenDomain, at: Any) -> None:
        display = display_of(domain, self.host) if domain.power in (Power.RUNNING, Power.PAUSED) else None
        guest_record_observation(
            domain.guest, Observation(domain.power, domain.reason, domain.generation, display, at=at), host=self.host
        )

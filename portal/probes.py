"""What machines ask the portal: alive, ready, how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis
from django.db import DatabaseError, connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from operations.models import Operation
from portal.core.middleware import client_address
from tenants.access import actor_for_token
from tenants.policy import Permission
from tenants.scoping import every_tenant
from vms.consoles import registry
from vms.models import Guest, Host, StoragePool
from vms.services.consoles import console_redis
from vms.services.liveness import watcher_is_alive, worker_is_alive
from vms.states import HostState

PROBE_KEY: Final = "guesthouse:probe"


@require_GET
def healthz(request: HttpRequest) -> JsonResponse:
    """This process lives."""
    return JsonResponse({"status": "ok"})


@require_GET
def readyz(request: HttpRequest) -> JsonResponse:
    """Every part the portal needs, one entry each; 503 unless all are there. Hosts are told, not required."""
    found: dict[str, Any] = dict(parts())
    ready = all(state == "ok" for state in found.values())
    found["hosts"] = _hosts() if found["database"] == "ok" else {"up": 0, "total": 0}
    return JsonResponse({"status": "ready" if ready else "not ready", "parts": found}, status=200 if ready else 503)


def parts() -> dict[str, str]:
    """Every part the portal needs: ``ok`` or ``down``; Redis may also be ``full`` and refuse every message."""
    return {
        "database": _part(_database),
        "redis": _redis(),
        "worker": _part(worker_is_alive),
        "watcher": _part(watcher_is_alive),
        "console": _part(lambda: registry.is_alive(console_redis())),
    }


def _part(check: Callable[[], object]) -> str:
    try:
        return "ok" if check() else "down"
    except (redis.RedisError, DatabaseError):
        return "down"


def _redis() -> str:
    try:
        console_redis().set(PROBE_KEY, "1", ex=5)
    except redis.exceptions.OutOfMemoryError:
        return "full"
    except redis.RedisError:
        return "down"
    return "ok"


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def _hosts() -> dict[str, int]:
    return {"up": Host.objects.filter(state=HostState.UP).count(), "total": Host.objects.count()}


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text, for an operator's token."""
    scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
    address = client_address(request)
    actor = actor_for_token(raw.strip(), None, address=address) if scheme.lower() == "bearer" else None
    if actor is None or not actor.may(Permission.OPERATE):
        return HttpResponse("An operator's token is needed.\n", status=401, content_type="text/plain")
    found = CollectorRegistry(auto_describe=False)
    found.register(Figures())
    return HttpResponse(generate_latest(found), content_type="text/plain; version=0.0.4; charset=utf-8")


class Figures:
    """Reads what there is from the database and Redis at the moment it is asked; a handful of grouped queries."""

    def collect(self) -> Any:
        """Prometheus' collector protocol."""
        with every_tenant(why="metrics count all tenants"):
            yield _grouped(
                "guesthouse_guests",
                "Machines by observed power",
                "power",
                Guest.objects.filter(binned_at=None),
                "seen_power",
            )
        yield _grouped("guesthouse_hosts", "Hosts by state", "state", Host.objects.all(), "state")
        yield _grouped("guesthouse_operations", "Operations by status", "status", Operation.objects.all(), "status")
        pools = GaugeMetricFamily("guesthouse_storage_bytes", "Storage pools", labels=["host", "figure"])
        for pool in StoragePool.objects.select_related("host"):
            for figure in ("capacity", "allocation", "available"):
                pools.add_metric([pool.host.name, figure], getattr(pool, figure))
        yield pools
        consoles = GaugeMetricFamily("guesthouse_console_total", "What happened at the console proxy", labels=["what"])
        try:
            for what, number in registry.counters(console_redis()).items():
                consoles.add_metric([what], number)
        except redis.RedisError:
            consoles.add_metric(["unknown"], float("nan"))
        yield consoles
        yield GaugeMetricFamily("guesthouse_time_seconds", "The portal's clock", value=time.time())


def _grouped(name: str, words: str, label: str, rows: Any, column: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=[label])
    for row in rows.order_by().values(column).annotate(n=Count("pk")):
        family.add_metric([row[column]], row["n"])
    return family

"""What the things that cost something are called: machines with the disks they have now, and what stands by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from django.db.models import Case, CharField, Model, OuterRef, QuerySet, Subquery, When
from django.utils.translation import gettext_lazy as _

from vms.models import BackupRepository, Guest, Image, Snapshot, Volume

type Thing = tuple[str, UUID]
"""Its type in the ledger and its id."""

KINDS: Final = {
    "guest": _("Machine"),
    "volume": _("Disk"),
    "snapshot": _("Snapshot"),
    "image": _("Image"),
    "backup_repository": _("Backups"),
}
_MODELS: Final[Mapping[str, type[Model]]] = {"guest": Guest, "volume": Volume, "snapshot": Snapshot, "image": Image}


def machines_of(things: Iterable[Thing]) -> dict[Thing, Thing]:
    """For each disk that a machine has now that machine; by one query."""
    wanted = {pk for kind, pk in things if kind == "volume"}
    rows = Volume.objects.filter(guest__isnull=False).values_list("pk", "guest_id") if wanted else ()
    return {("volume", pk): ("guest", guest) for pk, guest in rows if pk in wanted}


def names_of(things: Iterable[Thing]) -> dict[Thing, str]:
    """What each is called; one that is gone has no name. By one query for each kind there is."""
    found: dict[Thing, str] = {}
    by_kind: dict[str, list[UUID]] = {}
    for kind, pk in things:
        by_kind.setdefault(kind, []).append(pk)
    for kind, model in _MODELS.items():
        if kind in by_kind:
            rows = model._default_manager.filter(pk__in=by_kind[kind]).values_list("pk", "name")
            found |= {(kind, pk): name for pk, name in rows}
    if "backup_repository" in by_kind:
        rows = BackupRepository.objects.filter(pk__in=by_kind["backup_repository"]).values_list("pk", "store__name")
        found |= {("backup_repository", pk): name for pk, name in rows}
    return found


def name_now() -> Case:
    """What the thing of a row (``resource_type`` and ``resource_id``) is called, for an annotation; null for one that is gone."""
    rows: dict[str, QuerySet[Any, Any]] = {
        kind: model._default_manager.values("name") for kind, model in _MODELS.items()
    }
    rows["backup_repository"] = BackupRepository.objects.values("store__name")
    return Case(
        *(
            When(resource_type=kind, then=Subquery(names.filter(pk=OuterRef("resource_id"))[:1]))
            for kind, names in rows.items()
        ),
        output_field=CharField(null=True),
    )

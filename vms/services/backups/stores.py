"""Where backups are kept: operators say where, each tenant gets a repository of its own there with its first backup."""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import urlsplit

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import Tenant
from tenants.policy import Permission
from vms.models import BackupRepository, BackupStore
from vms.models.backups import StoreKind

WORDS: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z")
FOLDER: Final = re.compile(r"\A(?:/[A-Za-z0-9._-]+)+\Z")
BUCKET: Final = re.compile(r"\A(?:/[A-Za-z0-9._-]+)+/?\Z")


class NoStore(Conflict):
    """The operators have named no place for backups."""

    code = "no_backup_store"
    message = gettext_lazy("There is no place for backups yet.")
    hint = gettext_lazy("Ask the operator for a backup store.")


@transaction.atomic
def store_write(
    store: BackupStore | None,
    *,
    actor: Actor,
    name: str,
    kind: str,
    location: str,
    access_key: str = "",
    secret_key: str = "",
    enabled: bool = True,
) -> BackupStore:
    """Name a place (None), or change one; keys that are empty stay as they are.

    Raises ``Invalid`` with every field that is wrong, ``Conflict`` where the place of one that holds backups would change.
    """
    actor.require(Permission.OPERATE)
    fresh = store is None
    errors = [*_name_errors(store, name), *_location_errors(kind, location)]
    if errors:
        raise Invalid(errors=errors)
    store = store or BackupStore()
    if not fresh and (store.kind, store.location) != (kind, location) and store.repositories.exists():
        raise Conflict(
            _("Backups lie there: it keeps its place."), code="store_in_use", hint=_("Name another store beside it.")
        )
    store.name, store.kind, store.location, store.enabled = name, kind, location, enabled
    store.access_key, store.secret_key = access_key or store.access_key, secret_key or store.secret_key
    store.version += 0 if fresh else 1
    store.save()
    keys = bool(access_key or secret_key)
    deed = "backup_store.create" if fresh else "backup_store.edit"
    audit_record(actor, deed, store, kind=kind, location=location, enabled=enabled, keys=keys)
    return store


def _name_errors(store: BackupStore | None, name: str) -> list[FieldError]:
    if not WORDS.match(name):
        return [FieldError("/name", "invalid_name", _("Letters, digits, spaces, dots and hyphens, at most 40."))]
    others = BackupStore.objects.filter(name=name)
    if (others if store is None else others.exclude(pk=store.pk)).exists():
        return [FieldError("/name", "name_taken", _("There is a store of that name."))]
    return []


def _location_errors(kind: str, location: str) -> list[FieldError]:
    if kind not in StoreKind:
        return [FieldError("/kind", "invalid_kind", _("Choose folder or s3."))]
    if kind == StoreKind.FOLDER:
        if FOLDER.match(location) and ".." not in location.split("/"):
            return []
        return [FieldError("/location", "invalid_location", _("An absolute folder, such as /srv/backups."))]
    try:
        parts = urlsplit(location)
        fits = parts.scheme in ("http", "https") and parts.hostname and BUCKET.match(parts.path) and not parts.query
        fits = fits and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fits = False
    if fits:
        return []
    return [FieldError("/location", "invalid_location", _("An address such as https://s3.example.test/bucket."))]


def repository_of(tenant: Tenant) -> BackupRepository:
    """The tenant's repository, made with its first backup; in the caller's transaction, which holds the tenant's quota.

    Raises ``NoStore``.
    """
    found = BackupRepository.objects.select_related("store").filter(tenant=tenant).first()
    if found is not None:
        return found
    store = BackupStore.objects.filter(enabled=True).order_by("created_at").first()
    if store is None:
        raise NoStore
    return BackupRepository.objects.create(tenant=tenant, store=store, password=secrets.token_urlsafe(32))

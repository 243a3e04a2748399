"""Words in a body that name rows: by id or by name, and the same refusal for what is absent and what is foreign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db.models import Case, Model, QuerySet, When
from django.http import HttpRequest
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from portal.core.etags import find
from portal.core.ids import uuid_or_none
from tenants.models import Tenant
from tenants.scoping import current_scope
from vms.models import Guest, Image
from vms.states import ImageState

IMAGES_TOLD: Final = 5
"""How many of those that have the same name are told."""


def find_held[Row: Model](request: HttpRequest, rows: QuerySet[Row], pk: str, *, by: str = "guest") -> Row:
    """``find`` of what belongs to a machine, or may: with ``If-Match`` the machine is locked before it, as services do it.

    ``by`` leads from the row to the machine. Raises what ``find`` raises.
    """
    if "If-Match" in request.headers:
        machines = rows.filter(pk=uuid_or_none(pk)).order_by().values(by)
        list(Guest.objects.select_for_update(of=("self",)).filter(pk__in=machines).order_by("pk").values("pk"))
    return find(request, rows, pk)


def pick[Row: Model](rows: QuerySet[Row], text: str, pointer: str, errors: list[FieldError]) -> Row | None:
    """The row of that id or name; None, with a fault added to ``errors``, where there is none."""
    pk = uuid_or_none(text)
    row = rows.filter(**({"name": text} if pk is None else {"pk": pk})).first()
    if row is None:
        errors.append(FieldError(pointer, "unknown", _("There is nothing of that id or name.")))
    return row


def pick_image(rows: QuerySet[Image], text: str, pointer: str, errors: list[FieldError]) -> Image | None:
    """The image of that id or name: one that is ready before others, the project's own before one that is shared with it, and
    that before everybody's. None, with a fault added to ``errors``, where there is none, or two that nothing tells apart.
    """
    if uuid_or_none(text) is not None:
        return pick(rows, text, pointer, errors)
    scope = current_scope()
    home = scope.pk if isinstance(scope, Tenant) else None
    distance = Case(When(tenant=home, then=0), When(tenant__isnull=False, then=1), default=2)
    ready = Case(When(state=ImageState.READY, then=0), default=1)
    named = rows.filter(name=text).annotate(ready=ready, distance=distance)
    best = list(named.order_by("ready", "distance", "-created_at")[:IMAGES_TOLD])
    first = vars(best[0]) if best else {}
    same = [row for row in best if (vars(row)["ready"], vars(row)["distance"]) == (0, first["distance"])]
    if len(same) < 2:
        return pick(rows.filter(pk__in=[row.pk for row in best[:1]]), text, pointer, errors)
    ids = ", ".join(str(row.pk) for row in same)
    message = _("Several images have that name: %(ids)s. Give the id.") % {"ids": ids}
    errors.append(FieldError(pointer, "ambiguous", message))
    return None


def pick_tenant(text: str, pointer: str, errors: list[FieldError]) -> Tenant | None:
    """The tenant of that id or slug; None for an empty text, or with a fault where there is none."""
    if not text:
        return None
    pk = uuid_or_none(text)
    tenant = Tenant.objects.filter(**({"slug": text} if pk is None else {"pk": pk})).first()
    if tenant is None:
        errors.append(FieldError(pointer, "unknown", _("There is nothing of that id or name.")))
    return tenant


def pick_all[Row: Model](
    rows: QuerySet[Row], texts: Sequence[str], pointer: str, errors: list[FieldError]
) -> tuple[Row, ...]:
    """The rows of several ids or names, in their order."""
    found = [pick(rows, text, f"{pointer}/{number}", errors) for number, text in enumerate(texts)]
    return tuple(row for row in found if row is not None)


def refuse(errors: Sequence[FieldError]) -> None:
    """Raise ``Invalid`` with all faults, if there are any."""
    if errors:
        raise Invalid(errors=errors)

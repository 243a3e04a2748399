"""Operators write prices; what has begun stays as it is for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.meters import METERS
from billing.models import ListTurn, Price, PriceList
from billing.money import DIGITS
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.ledger import installation_journal_lock
from tenants.policy import Permission

KEPT: Final = ("name", "currency", "tax_percent")


@transaction.atomic
def price_list_write(row: PriceList | None, *, actor: Actor, **fields: Any) -> PriceList:
    """Make a list (None) or make one the default; raises ``Invalid`` with every wrong field.

    Name, currency and tax stay: statements were written in them. The default is given up only to another list.
    """
    actor.require(Permission.OPERATE)
    fresh = row is None
    list(PriceList.objects.select_for_update().order_by("pk").values("pk"))  # one is the default: they take turns,
    installation_journal_lock()  # also where there is no list yet
    row = PriceList.objects.get(pk=row.pk) if row is not None else PriceList()
    changes = {name: [getattr(row, name), value] for name, value in fields.items() if getattr(row, name) != value}
    errors = []
    if not fresh:
        message = _("A list keeps it: statements were written in it.")
        errors += [FieldError(f"/{name}", "fixed", message) for name in KEPT if name in changes]
        if row.is_default and "is_default" in changes:
            message = _("One list is the default: make another one it.")
            errors.append(FieldError("/is_default", "needs_one", message))
    for name, value in fields.items():
        setattr(row, name, value)
    if row.currency not in DIGITS:
        errors.append(FieldError("/currency", "unknown", _("This is no currency of ISO 4217.")))
    errors += _wrong(row, exclude=["currency", "is_default"])
    if errors:
        raise Invalid(errors=errors)
    if row.is_default:
        PriceList.objects.filter(is_default=True).exclude(pk=row.pk).update(is_default=False)
    row.version += 1
    row.save()
    if row.is_default and (fresh or "is_default" in changes):
        last = ListTurn.objects.order_by("-since").values_list("since", flat=True).first()
        since = now() if last is None else max(now(), last + timedelta(microseconds=1))
        ListTurn.objects.create(since=since, price_list=row)
    facts = {name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
    audit_record(actor, "price_list.create" if fresh else "price_list.edit", row, **(facts if fresh else changes))
    return row


@transaction.atomic
def price_set(
    price_list: PriceList,
    *,
    meter: str,
    amount: Decimal,
    actor: Actor,
    word: str = "",
    valid_from: datetime | None = None,
) -> Price:
    """From ``valid_from`` (now, where it is not said) one unit of ``meter`` costs ``amount`` an hour.

    Raises ``Invalid`` at every wrong field: a moment in the past, a word for a meter that has none, a second price from the
    same moment. What was before holds until then, and stays what it was.
    """
    actor.require(Permission.OPERATE)
    PriceList.objects.select_for_update().get(pk=price_list.pk)
    moment = now()
    row = Price(price_list=price_list, meter=meter, word=word, amount=amount, valid_from=valid_from or moment)
    errors = _wrong(row, exclude=["price_list"])
    if row.valid_from < moment:
        errors.append(FieldError("/valid_from", "past", _("Prices change from now or later on, never backwards.")))
    if word and meter in METERS and not METERS[meter].word:
        errors.append(FieldError("/word", "none", _("This is priced as one.")))
    if Price.objects.filter(price_list=price_list, meter=meter, word=word, valid_from=row.valid_from).exists():
        errors.append(FieldError("/valid_from", "taken", _("Another price begins at that moment.")))
    if errors:
        raise Invalid(errors=errors)
    row.save()
    facts: dict[str, Any] = {"meter": meter, "word": word, "amount": str(row.amount)}
    audit_record(actor, "price.set", row, list=price_list.name, valid_from=row.valid_from.isoformat(), **facts)
    return row


@transaction.atomic
def price_withdraw(price: Price, *, actor: Actor) -> None:
    """A price that has not begun is announced no longer; raises ``Conflict`` of one that has. Safe to repeat."""
    actor.require(Permission.OPERATE)
    row = Price.objects.select_for_update().filter(pk=price.pk).first()
    if row is None:
        return
    if row.valid_from <= now():
        raise Conflict(
            _("This price has begun, and what was used at it is owed."),
            code="price_began",
            hint=_("Set another one from a later moment."),
        )
    audit_record(actor, "price.withdraw", row, meter=row.meter, word=row.word, amount=str(row.amount))
    row.delete()


def _wrong(row: PriceList | Price, *, exclude: list[str]) -> list[FieldError]:
    try:
        row.full_clean(exclude=exclude, validate_constraints=False)
    except ValidationError as error:
        return [FieldError(f"/{name}", "invalid", messages[0]) for name, messages in error.message_dict.items()]
    return []

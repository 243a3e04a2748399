"""Would it fit? What a dry run answers, whatever is to be made."""

from __future__ import annotations

from pydantic import BaseModel, Field

from portal.core.ports import Money
from vms.seed_preview import Preview
from vms.services.guests.create import Fit


class ReasonOut(BaseModel):
    """Why it would not fit."""

    code: str
    message: str


class QuotaLineOut(BaseModel):
    """A quota before and after; no limit is null."""

    name: str
    before: int
    after: int
    limit: int | None


class PriceOut(BaseModel):
    """What it would cost as long as it is there, a machine while it runs, as decimal strings."""

    hour: str
    month: str = Field(description="Of 730 hours.")
    currency: str


class FitOut(BaseModel):
    """Would it fit? Nothing was changed."""

    fits: bool
    reasons: list[ReasonOut]
    quota: list[QuotaLineOut]
    price: PriceOut | None
    more_fit: int = Field(description="How many more of the same would fit after this.")
    told: dict[str, str] = Field(default={}, description="What a new guest would be told, file by file; no password.")
    advice: list[str] = Field(default=[], description="What in its user-data is probably not meant.")


def price_out(money: Money | None) -> PriceOut | None:
    """Money as JSON shows it."""
    if money is None:
        return None
    return PriceOut(hour=money.hour_text, month=money.month_text, currency=money.currency)


def fit_out(fit: Fit, told: Preview | None = None) -> FitOut:
    """The answer of a dry run."""
    lines = [QuotaLineOut(name=line.name, before=line.before, after=line.after, limit=line.limit) for line in fit.quota]
    reasons = [ReasonOut(code=code, message=message) for code, message in fit.reasons]
    told = told or Preview({}, ())
    return FitOut(
        fits=fit.fits,
        reasons=reasons,
        quota=lines,
        price=price_out(fit.price),
        more_fit=fit.more_fit,
        told=told.files,
        advice=list(told.advice),
    )

"""What REST says of a person."""

from __future__ import annotations

from pydantic import BaseModel

from tenants.models import User


class PersonOut(BaseModel):
    """Somebody, as their fellow members see them."""

    id: str
    email: str
    name: str


def person_out(user: User) -> PersonOut:
    """A person as JSON shows them."""
    return PersonOut(id=str(user.pk), email=user.email, name=user.name)

"""One encrypted field type: text that no dump of the database shows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> str:
    """Encrypt with the newest key of ``settings.FIELD_KEYS``."""
    return _box(tuple(settings.FIELD_KEYS)).encrypt(text.encode()).decode()


def unseal(token: str) -> str:
    """Decrypt with whichever key fits; raises ``cryptography.fernet.InvalidToken`` where none does."""
    return _box(tuple(settings.FIELD_KEYS)).decrypt(token.encode()).decode()


def reseal(token: str) -> str:
    """The same secret under the newest key; for key rotation."""
    return _box(tuple(settings.FIELD_KEYS)).rotate(token.encode()).decode()


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:  # Django's own class takes no type arguments
    _TextField = models.TextField


class SealedTextField(_TextField):
    """Text that is encrypted in the database and plain in Python; empty stays empty. Not searchable."""

    def get_prep_value(self, value: Any) -> Any:
        return seal(str(value)) if value else ""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str:
        return unseal(value) if value else ""

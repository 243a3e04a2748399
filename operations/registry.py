"""Which function carries out which kind of operation, and how its end is settled.

The rooms above register: ``@handles("guest.create", settle=…)``. The worker imports them; the web process registers only
what settling and describing needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.functional import Promise

if TYPE_CHECKING:
    from operations.models import Operation
    from operations.runner import Run

Handler = Callable[["Run"], None]
Settle = Callable[["Operation"], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a kind before it runs.

    ``label`` is a sentence with ``%(name)s``. ``settle`` runs in the transaction that ends an operation, whoever ends it, and
    must be safe for every terminal status. ``deadline_s`` bounds it from submission. ``cancellable`` while running, too.
    """

    name: str
    label: str | Promise
    settle: Settle | None = None
    deadline_s: float = 900
    cancellable: bool = False
    group: bool = False
    """Has no work of its own: its children's end is its end."""
    long: bool = False
    """Moves whole disks or waits for machines, many minutes of a worker: few at once, so that short work goes on beside it."""


_kinds: dict[str, Kind] = {}
_handlers: dict[str, Handler] = {}


def declare(kind: Kind) -> Kind:
    """Make a kind known; every process does this at start."""
    _kinds[kind.name] = kind
    return kind


def kind_of(name: str) -> Kind:
    """The declared kind; an unknown one is a ``KeyError``, never a guess."""
    return _kinds[name]


def kinds() -> dict[str, Kind]:
    """All declared kinds by name."""
    return dict(_kinds)


def handles(name: str) -> Callable[[Handler], Handler]:
    """Register the function that carries out ``name``; only workers import handlers."""

    def register(function: Handler) -> Handler:
        if name not in _kinds:
            raise KeyError(f"declare {name!r} before handling it")
        _handlers[name] = function
        return function

    return register


def handler_of(name: str) -> Handler:
    """The registered handler; a ``KeyError`` where there is none."""
    return _handlers[name]


def handled() -> frozenset[str]:
    """Names with a handler in this process."""
    return frozenset(_handlers)

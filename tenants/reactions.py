"""What the rooms above want to hear: ``@reacts("tenant.suspended")`` runs in the same transaction as the announcement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

Reaction = Callable[..., None]
_reactions: defaultdict[str, list[Reaction]] = defaultdict(list)


def reacts(word: str) -> Callable[[Reaction], Reaction]:
    """Register a function for ``word``; it is called with the announcement's keyword arguments."""

    def register(function: Reaction) -> Reaction:
        if function not in _reactions[word]:
            _reactions[word].append(function)
        return function

    return register


def announce(word: str, **details: Any) -> None:
    """Call every reaction to ``word``, in the order they were registered; an exception in one undoes the whole change."""
    for reaction in _reactions[word]:
        reaction(**details)

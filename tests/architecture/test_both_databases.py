"""What only PostgreSQL can be asked: the embedded default is SQLite, while most of the suite runs on PostgreSQL."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.sources import calls, modules

LOOKUPS = ("__contains", "__contained_by", "__overlap", "__unaccent", "__trigram_similar", "__search")
"""Of JSON and arrays, and of extensions. Text is looked through by ``icontains``, which both databases can do."""


def postgresql_only(tree: ast.AST) -> Iterator[int]:
    """Lines that SQLite refuses when they run."""
    for call in calls(tree):
        names = {keyword.arg or "" for keyword in call.keywords}
        if any(name.endswith(LOOKUPS) for name in names):
            yield call.lineno
        if isinstance(call.func, ast.Attribute) and call.func.attr == "distinct" and call.args:
            yield call.lineno


def test_nothing_is_asked_that_sqlite_cannot_answer() -> None:
    found = [f"{path}:{line}" for path, tree in modules().items() for line in postgresql_only(tree)]

    assert found == []
    assert not [path for path, tree in modules().items() if "django.contrib.postgres" in ast.unparse(tree)]


def test_a_planted_lookup_is_caught() -> None:
    planted = 'Role.objects.filter(permissions__contains="x")\nGuest.objects.distinct("host")\nGuest.objects.distinct()'

    assert list(postgresql_only(ast.parse(planted))) == [1, 2]

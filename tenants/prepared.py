"""Queries that are put together once: asking fifty machines' tags takes less time than writing that question in SQL.

Each is put together by Django, through the scoped managers, and kept as SQL for one scope: what one tenant's rows were asked
with is never used for another's. What changes from one asking to the next is ``Given``; everything else the function that
makes the query may look at is in its arguments, which must be hashable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, update_wrapper
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Expression, Field, Lookup, Model, QuerySet, UUIDField

from tenants.models import Tenant
from tenants.scoping import current_scope

KEPT: Final = 256
"""Of each query, so many scopes; some 5 KiB each."""


class Given(Expression):
    """A value that comes with each asking, by this name; ``many`` of them, for the lookup ``among``."""

    def __init__(self, name: str, output_field: Field[Any, Any], *, many: bool = False) -> None:
        super().__init__(output_field=output_field)
        self.name, self.many = name, many

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """A place for it, and itself as what goes there."""
        return "%s", [self]

    def parameter(self, value: Any, connection: Any) -> Any:
        """``value`` as the database takes it."""
        if not self.many:
            return self.output_field.get_db_prep_value(value, connection)
        values = [str(self.output_field.get_db_prep_value(one, connection)) for one in value]
        return f"{{{','.join(values)}}}" if connection.vendor == "postgresql" else json.dumps(values)


@UUIDField.register_lookup
class Among(Lookup):
    """``in`` with one parameter for however many ids, so that its SQL is the same for all."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """SQLite takes a text of JSON."""
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} IN (SELECT value FROM json_each(%s))", [*parameters, self.rhs]  # noqa: S608  (a column of ours)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """PostgreSQL takes an array, in one text too: the driver takes ten times as long to quote each id by itself."""
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s::uuid[])", [*parameters, self.rhs]


@dataclass(frozen=True, slots=True)
class _Statement:
    """SQL with its parameters, and what makes values of Python out of some of its columns."""

    sql: str
    parameters: tuple[Any, ...]
    converters: tuple[tuple[int, list[Callable[[Any, Any, Any], Any]], Any], ...]

    def ask(self, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        connection = connections[DEFAULT_DB_ALIAS]
        parameters = [
            one.parameter(given[one.name], connection) if isinstance(one, Given) else one for one in self.parameters
        ]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, parameters)
            rows = cursor.fetchall()
        return [self._converted(row, connection) for row in rows] if self.converters else list(rows)

    def _converted(self, row: tuple[Any, ...], connection: Any) -> tuple[Any, ...]:
        values = list(row)
        for place, converters, expression in self.converters:
            for converter in converters:
                values[place] = converter(values[place], expression, connection)
        return tuple(values)


class Prepared:
    """``prepared(function)``: called with the function's arguments and what is given, all rows of its query, as tuples."""

    def __init__(self, rows: Callable[..., QuerySet[Any, tuple[Any, ...]]]) -> None:
        self.rows = rows
        self._kept = lru_cache(maxsize=KEPT)(self._put_together)
        update_wrapper(self, rows)

    def __call__(self, *arguments: Hashable, **given: Any) -> list[tuple[Any, ...]]:
        """Ask, in the scope that is open; raises ``UnscopedQuery`` for a tenant's rows where none is."""
        scope = current_scope()
        statement = self._kept(scope.pk if isinstance(scope, Tenant) else scope, *arguments)
        return [] if statement is None else statement.ask(given)

    def _put_together(self, _scope: Hashable, *arguments: Hashable) -> _Statement | None:
        """In the scope that is open, whose name the cache remembers it by; None where there can be no rows."""
        connection = connections[DEFAULT_DB_ALIAS]
        compiler = self.rows(*arguments).query.get_compiler(connection=connection)
        try:
            sql, parameters = compiler.as_sql()
        except EmptyResultSet:
            return None
        columns = [column for column, _sql, _alias in compiler.select[: compiler.col_count]]
        converters = compiler.get_converters(columns)
        return _Statement(sql, tuple(parameters), tuple((place, *how) for place, how in converters.items()))


def columns_of(model: type[Model], *names: str) -> tuple[str, ...]:
    """``names`` (none: all) of the model's columns, in the order in which ``from_db`` takes their values."""
    columns = tuple(field.attname for field in model._meta.concrete_fields)
    if unknown := set(names).difference(columns):
        raise ValueError(f"{model.__name__} has no {sorted(unknown)}")
    return tuple(name for name in columns if name in names or not names)


prepared: Final = Prepared

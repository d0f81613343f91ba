"""Statements of SQLAlchemy, run on the connection of SQLite's driver: each publish and each check must be quick.

SQLAlchemy puts a statement together and wraps what it returns, which takes several times as long as SQLite itself.
Here a statement is put together once, and a row is a named tuple. Source: a measurement in docs/benchmarks.md.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self, TypeAlias, cast

from sqlalchemy import ClauseElement, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import CompoundSelect

Run: TypeAlias = Callable[[Callable[[], Any]], Any]
"""Makes a call, and again while others have the database locked."""

_DIALECT: Final = sqlite.dialect(paramstyle="named")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as text.

    Attributes:
        text: The statement, with the names of its parameters.
        constants: Parameters that the statement itself has values for.
        listed: The name of the parameter that stands for a list; blank if none does.
        row: Makes a row of a tuple.
    """

    text: str
    constants: Mapping[str, Any]
    listed: str
    row: Callable[[Sequence[Any]], NamedTuple]


class DriverRows:
    """What a statement found; read as it is needed."""

    def __init__(self, cursor: sqlite3.Cursor, row: Callable[[Sequence[Any]], NamedTuple]) -> None:
        self._cursor = cursor
        self._row = row

    def all(self) -> list[Any]:
        """Return all rows."""
        return list(map(self._row, self._cursor.fetchall()))

    def __iter__(self) -> Iterator[Any]:
        return map(self._row, self._cursor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()


class DriverConnection:
    """A transaction on a connection of SQLite's driver.

    Args:
        connection: The driver's; it begins no transaction by itself.
        run: Runs each statement.
    """

    def __init__(self, connection: sqlite3.Connection, run: Run) -> None:
        self._connection = connection
        self._run = run

    def execute(
        self,
        statement: ClauseElement,
        parameters: dict[str, Any] | list[dict[str, Any]] | None = None,
        execution_options: Mapping[str, Any] | None = None,
    ) -> DriverRows:
        """Run a statement, once, or for each of a list of parameters; options have no meaning here."""
        del execution_options
        given = parameters or {}
        many = isinstance(given, list)
        compiled = _compiled(statement, tuple(given[0] if isinstance(given, list) else given))
        text, cursor = compiled.text, self._connection.cursor()
        if isinstance(given, dict):
            given = {**compiled.constants, **given}
            if compiled.listed:
                text, given = _spread(compiled, given)
        execute = cursor.executemany if many else cursor.execute
        self._run(lambda: execute(text, given))
        return DriverRows(cursor, compiled.row)


@lru_cache(64)
def _compiled(statement: ClauseElement, names: tuple[Any, ...]) -> _Compiled:
    compiled = statement.compile(dialect=_DIALECT, column_keys=[str(name) for name in names])
    columns: list[str] = []
    if isinstance(statement, Select | CompoundSelect):
        columns = list(statement.selected_columns.keys())
    row = cast("Any", namedtuple("row", columns))._make  # noqa: PYI024 - its names come from the statement
    listed = next((str(name) for name in names if f"__[POSTCOMPILE_{name}]" in str(compiled)), "")
    constants = {name: value for name, value in compiled.params.items() if name not in names}
    return _Compiled(str(compiled), constants, listed, row)


def _spread(compiled: _Compiled, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    values = {f"{compiled.listed}_{number}": value for number, value in enumerate(parameters[compiled.listed])}
    marks = ", ".join(f":{name}" for name in values)
    return compiled.text.replace(f"__[POSTCOMPILE_{compiled.listed}]", marks), values

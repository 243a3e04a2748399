"""The line to a fabric's northbound database, by ovsdbapp: looks that are fresh, and changes that are whole.

The library keeps a copy of the database, which a thread of its own brings up to date. Each look first asks the server for
something, whose answer comes after whatever was changed before; each change is one transaction, made anew where what it read
has changed meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from ovs.db.data import Atom
from ovs.db.types import UuidType
from ovs.stream import SSLStream, Stream
from ovsdbapp.backend.ovs_idl import connection, transaction
from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.exceptions import TimeoutException

from vms.hypervisor.errors import FabricSilent, HypervisorError, Refused

ANSWER_S: Final = 10.0
"""How long an answer may take; a database of 10,000 cards is copied in less."""
_TABLES: Final = (
    "NB_Global", "Logical_Switch", "Logical_Switch_Port", "Logical_Router", "Logical_Router_Port", "ACL", "Address_Set",
    "Port_Group", "DHCP_Options", "DNS", "NAT", "Logical_Router_Static_Route", "Logical_Router_Policy", "Gateway_Chassis",
)  # fmt: skip
_INDEXED: Final = ("Logical_Switch", "Logical_Switch_Port", "Logical_Router", "Port_Group", "Address_Set")
_READ: Final = {
    "Logical_Switch": ("ports", "acls", "dns_records"),
    "Logical_Router": ("ports", "nat", "policies", "static_routes"),
    "Logical_Router_Port": ("gateway_chassis",),
    "Port_Group": ("ports", "acls"),
    "DNS": ("records",),
}
"""What is read of a row in the change that makes it: the library knows no value of a column that nobody has set."""
_FILES: Final = ("clientkey.pem", "clientcert.pem", "cacert.pem")

_lock = threading.Lock()
_lines: dict[tuple[int, str, str], Northbound] = {}


def northbound(remote: str, pki: str) -> Northbound:
    """This process's line to the database at ``remote`` (``ssl:ADDRESS:PORT``, several with commas), opened if need be.

    ``pki`` is a folder with ``clientkey.pem``, ``clientcert.pem`` and ``cacert.pem``. Raises ``FabricSilent``, or ``Refused`` for
    an address or a folder that cannot be used. A line never survives a fork.
    """
    key = (os.getpid(), remote, pki)
    with _lock:
        kept = _lines.get(key)
        if kept is None:
            kept = _lines[key] = Northbound(remote, pki)
        return kept


def hang_up(remote: str, pki: str) -> None:
    """Close and forget this process's line, if there is one."""
    with _lock:
        kept = _lines.pop((os.getpid(), remote, pki), None)
    if kept is not None:
        kept.close()


class Northbound:
    """An open line; ``tables`` are to be read within ``look`` only."""

    def __init__(self, remote: str, pki: str) -> None:
        self.remote, self.pki = remote, pki
        self._connection = _within(lambda: _connect(remote, pki), remote)

    @contextlib.contextmanager
    def look(self) -> Iterator[Any]:
        """The database's tables as they are now or later; they stand still within."""
        self._run(_Barrier(self))
        with self._connection.lock:
            yield self.idl.tables

    def change(self, make: Callable[[Change], None]) -> bool:
        """Do what ``make`` makes of the tables, wholly or not at all; did it change anything?

        ``make`` may be called again where somebody else changed what it has read. What it raises leaves everything as it was.
        """
        while True:
            self._run(_Barrier(self))
            command = _Make(self, make)
            try:
                self._run(command)
            except _MadeMeanwhile:
                continue
            return command.changed

    def would_change(self, make: Callable[[Change], None]) -> bool:
        """Would ``change`` change anything? Nothing is."""

        def look(change: Change) -> None:
            make(change)
            if change.is_begun:
                raise _Differs

        try:
            self.change(look)
        except _Differs:
            return True
        return False

    def takes_chosen_ids(self) -> bool:
        """Can a new row be given its id (ovsdb-server of Open vSwitch 3.1)? Asked by one that is never made."""
        try:
            self._run(_Trial(self))
        except Refused as error:
            return '"aborted"' in error.detail
        return True

    def northd(self) -> str:
        """The version of the northd that last translated this database; empty where none ever did."""
        with self.look() as tables:
            rows = tables["NB_Global"].rows.values()
            return next((str(row.options.get("northd_internal_version", "")) for row in rows), "")

    def translated(self, *, timeout_s: float) -> bool:
        """Wait until northd has made of all changes so far what hosts are told; False where it takes longer."""
        return self._settled("sb_cfg", timeout_s)

    def enforced(self, *, timeout_s: float) -> bool:
        """Wait until every host's controller has put all changes so far in force; False where it takes longer."""
        return self._settled("hv_cfg", timeout_s)

    def close(self) -> None:
        self._connection.is_running = False
        self._connection.txns.alert_notify()

    # --- what the library asks of whoever makes transactions -----------------------------------------------------------
    @property
    def idl(self) -> Any:
        return self._connection.idl

    @property
    def ovsdb_connection(self) -> Any:
        return self._connection

    def _run(self, command: BaseCommand) -> None:
        made = transaction.Transaction(self, self._connection, ANSWER_S, check_error=True, log_errors=False)
        made.add(command)
        try:
            made.commit()
        except HypervisorError:
            raise
        except ValueError as error:
            raise Refused(f"{self.remote}: {error}") from error
        except TimeoutException as error:
            hang_up(self.remote, self.pki)
            raise FabricSilent(f"{self.remote}: no answer within {ANSWER_S:g} s") from error
        except RuntimeError as error:
            if "timed out" in str(error):
                hang_up(self.remote, self.pki)
                raise FabricSilent(f"{self.remote}: {error}") from error
            if '"duplicate uuid"' in str(error):
                raise _MadeMeanwhile from error
            raise Refused(f"{self.remote}: {error}") from error

    def _settled(self, column: str, timeout_s: float) -> bool:
        wanted = 0

        def ask(change: Change) -> None:
            nonlocal wanted
            (row,) = change.rows("NB_Global").values()
            row.verify("nb_cfg")
            wanted = row.nb_cfg + 1
            row.nb_cfg = wanted

        self.change(ask)
        end = time.monotonic() + timeout_s
        pause = threading.Event()
        while True:
            with self._connection.lock:
                (row,) = self.idl.tables["NB_Global"].rows.values()
                if getattr(row, column) >= wanted:
                    return True
            if time.monotonic() > end:
                return False
            pause.wait(0.01)


class Change:
    """The tables while they are being changed."""

    def __init__(self, idl: Any, txn: Any) -> None:
        self._idl, self._txn = idl, txn

    @property
    def is_begun(self) -> bool:
        """Has anything been changed?"""
        return bool(self._txn._txn_rows)

    def rows(self, table: str) -> Any:
        """A table's rows, by their ids."""
        return self._idl.tables[table].rows

    def named(self, table: str, name: str) -> list[Any]:
        """The rows of that name; a switch's need not be its alone."""
        return named(self._idl.tables, table, name)

    def insert(self, table: str, pk: UUID, **columns: Any) -> Any:
        """A new row of that id: of two who make the same, one is told to look again."""
        row = self._txn.insert(self._idl.tables[table], new_uuid=pk, persist_uuid=True)
        for column in _READ.get(table, ()):
            setattr(row, column, {} if column == "records" else [])
        for column, value in columns.items():
            setattr(row, column, value)
        return row

    def remove(self, row: Any) -> None:
        """No such row any more."""
        row.delete()

    def add(self, table: str, **columns: Any) -> Any:
        """A new row that nobody asks for by its id."""
        row = self._txn.insert(self._idl.tables[table])
        for column, value in columns.items():
            setattr(row, column, value)
        return row


def named(tables: Any, table: str, name: str) -> list[Any]:
    """The rows of that name."""
    index = tables[table].rows.indexes["name"]
    return list(index.irange(_Named(name), _Named(name)))


def holds(row: Any, column: str, pk: UUID) -> bool:
    """Is the row ``pk`` among those that the column names? Does not make rows of all of them, of which a group has thousands."""
    if row._data is None or column in row._changes or row._mutations:
        return any(each.uuid == pk for each in getattr(row, column))
    return Atom(UuidType, pk) in row._data[column].values


class _Named:
    """What an index is asked with, instead of a row."""

    def __init__(self, name: str) -> None:
        self.name = name


class _MadeMeanwhile(Exception):
    """Somebody else has just made a row that was not there at the last look."""


class _Differs(Exception):
    """Something would be changed."""


class _Barrier(BaseCommand):  # type: ignore[misc]
    """Nothing, said to the server."""

    def run_idl(self, txn: Any) -> None:
        txn.add_op({"op": "comment", "comment": "look"})


class _Trial(BaseCommand):  # type: ignore[misc]
    """A row with an id of our choice, and an end that undoes it."""

    def run_idl(self, txn: Any) -> None:
        txn.add_op({"op": "insert", "table": "Address_Set", "uuid": str(uuid4()), "row": {"name": f"gh_{uuid4().hex}"}})
        txn.add_op({"op": "abort"})


class _Make(BaseCommand):  # type: ignore[misc]
    def __init__(self, api: Northbound, make: Callable[[Change], None]) -> None:
        super().__init__(api)
        self._make = make
        self.changed = False

    def run_idl(self, txn: Any) -> None:
        self._make(Change(self.api.idl, txn))

    def post_commit(self, txn: Any) -> None:
        self.changed = True


@dataclass(frozen=True, slots=True)
class Chassis:
    """A host's part in a fabric: its name in OVN, its host's own, and whether its kernel switches."""

    name: str
    hostname: str
    in_kernel: bool


def chassis(remote: str, pki: str) -> tuple[Chassis, ...]:
    """The hosts that are in a fabric, by its southbound database at ``remote``; raises as ``northbound`` does."""
    line = _within(lambda: _connect(remote, pki, schema="OVN_Southbound", tables=("Chassis",), indexed=()), remote)
    try:
        with line.lock:
            rows = line.idl.tables["Chassis"].rows.values()
            return tuple(sorted((_chassis(row) for row in rows), key=lambda one: one.name))
    finally:
        line.is_running = False
        line.txns.alert_notify()


def _chassis(row: Any) -> Chassis:
    kind = row.other_config.get("datapath-type", "")
    return Chassis(name=row.name, hostname=row.hostname, in_kernel=kind != "netdev")


def _connect(
    remote: str, pki: str, *, schema: str = "OVN_Northbound", tables: Sequence[str] = _TABLES,
    indexed: Sequence[str] = _INDEXED,
) -> Any:  # fmt: skip
    remote = _over_tls(remote, pki)
    idl = connection.OvsdbIdl.from_server(remote, schema, helper_tables=tables, leader_only=True)
    for table in indexed:
        idl.tables[table].rows.index_create("name").add_column("name")
    made = connection.Connection(idl, ANSWER_S)
    made.start()
    return made


def _over_tls(remote: str, pki: str) -> str:
    """The same address by a way of our own, since the library has one key for a whole process and fabrics have one each."""
    if all(each.startswith("unix:") for each in remote.split(",")):
        return remote
    files = [Path(pki) / name for name in _FILES]
    if not pki or not all(file.is_file() for file in files):
        raise Refused(f"{pki or 'no folder'} does not hold {', '.join(_FILES)}")
    method = "gh" + hashlib.sha256(pki.encode()).hexdigest()[:12]

    class Line(SSLStream):  # type: ignore[misc]
        @staticmethod
        def _open(suffix: str, dscp: int) -> Any:
            with _keys:
                key, certificate, authority = map(str, files)
                Stream.ssl_set_private_key_file(key)
                Stream.ssl_set_certificate_file(certificate)
                Stream.ssl_set_ca_cert_file(authority)
                try:
                    return SSLStream._open(suffix, dscp)
                except OSError as error:  # a key that is gone by now: the library knows numbers only
                    return error.errno or errno.EPROTO, None

    Stream.register_method(method, Line)
    ways = [each.strip().partition(":") for each in remote.split(",")]
    if any(kind != "ssl" for kind, _colon, _place in ways):
        raise Refused(f"{remote}: each address begins with ssl: or is a unix socket's")
    return ",".join(f"{method}:{place}" for _kind, _colon, place in ways)


_keys = threading.Lock()


def _within(make: Callable[[], Any], remote: str) -> Any:
    """What ``make`` returns, or ``FabricSilent``: the library waits for a silent server for ever, so it waits on a thread."""
    result: list[Any] = []
    fault: list[Exception] = []

    def attempt() -> None:
        try:
            result.append(make())
        except Exception as error:  # noqa: BLE001  the library raises nothing narrower; it is told to who waits
            fault.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    if result:
        return result[0]
    if fault and isinstance(fault[0], HypervisorError):
        raise fault[0]
    raise FabricSilent(f"{remote}: {fault[0] if fault else 'no answer'}") from (fault[0] if fault else None)

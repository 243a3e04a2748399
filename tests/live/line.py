"""Hosts in memory, shared by processes: the test has them and their levers, its workers reach them over a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from vms.hypervisor import fake
from vms.hypervisor.errors import HypervisorError, Unreachable


class Exchange:
    """Answers for the test's hosts at ``path``: one call a connection, each in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._listener = Listener(str(path), family="AF_UNIX", backlog=128)
        threading.Thread(target=self._serve, daemon=True, name="exchange").start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                line = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(line,), daemon=True, name="exchange").start()

    def _answer(self, line: Connection[Any, Any]) -> None:
        with line:
            uri, verb, arguments, named = line.recv()
            try:
                said = (getattr(fake.connect(uri), verb)(*arguments, **named), None)
            except HypervisorError as error:
                said = (None, error)
            try:
                line.send(said)
            except BrokenPipeError:
                return  # the worker is dead


class Line:
    """A ``Hypervisor`` in another process than its host; every verb is a question and an answer."""

    def __init__(self, path: str, uri: str) -> None:
        self._path, self._uri = path, uri

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def ask(*arguments: Any, **named: Any) -> Any:
            named.pop("progress", None)
            try:
                with Client(self._path, family="AF_UNIX") as line:
                    line.send((self._uri, verb, arguments, named))
                    result, error = line.recv()
            except (OSError, EOFError) as lost:
                raise Unreachable(f"{self._uri}: {lost}") from lost
            if error is not None:
                raise error
            return result

        return ask

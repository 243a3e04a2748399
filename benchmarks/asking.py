"""Asking a portal over plain HTTP and taking the time: one connection that stays open, as a browser's does."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

IDLE_S: Final = 4.0
"""uvicorn hangs up after five seconds of silence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read to its end, ``seconds`` after the request was sent."""

    status: int
    body: bytes
    seconds: float
    location: str


class Browser:
    """Keeps its connection, its cookies, and headers of its own."""

    def __init__(self, url: str, **headers: str) -> None:
        self.address = urllib.parse.urlsplit(url).netloc
        self.headers, self.cookies = {"Accept-Encoding": "identity", **headers}, SimpleCookie[str]()
        self.line = http.client.HTTPConnection(self.address, timeout=120)
        self.used = 0.0

    def ask(self, path: str, *, form: dict[str, str] | None = None, body: Any = None) -> Answer:
        """GET ``path``, or POST to it a ``form`` or a ``body`` of JSON; a redirect is an answer."""
        headers = {**self.headers, "Cookie": "; ".join(f"{c.key}={c.value}" for c in self.cookies.values())}
        sent = None
        if form is not None:
            sent = urllib.parse.urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.address}"}
        if body is not None:
            sent = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if time.perf_counter() - self.used > IDLE_S:
            self.line.close()  # the next request opens it again
        began = time.perf_counter()
        self.line.request("GET" if sent is None else "POST", path, sent, headers)
        raw = self.line.getresponse()
        content = raw.read()
        self.used = time.perf_counter()
        for cookie in raw.headers.get_all("Set-Cookie", []):
            self.cookies.load(cookie)
        return Answer(raw.status, content, self.used - began, raw.headers.get("Location", ""))

    def sign_in(self, email: str, password: str) -> float:
        """Through the form; seconds from the form's page to where it leads, which is read too."""
        page = self.ask("/account/login/")
        token = page.body.split(b'name="csrfmiddlewaretoken" value="')[1].split(b'"')[0].decode()
        sent = self.ask("/account/login/", form={"csrfmiddlewaretoken": token, "login": email, "password": password})
        if sent.status != 302:
            raise RuntimeError(f"not signed in: {sent.status}")
        return page.seconds + sent.seconds + self.ask(sent.location).seconds

    def get(self, path: str) -> Answer:
        """A page that must be there."""
        answer = self.ask(path)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.body[:200]!r}")
        return answer


def milliseconds(seconds: Sequence[float]) -> str:
    """Three cells of a table: least, median and nine tenths, in ms."""
    p90 = statistics.quantiles(seconds, n=10)[-1]
    return " | ".join(f"{1000 * figure:.1f}" for figure in (min(seconds), statistics.median(seconds), p90))


def cpu_seconds(pid: int) -> float:
    """How long all threads of a process have been on a processor; what else the machine does adds little to it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def load() -> str:
    """The machine's load, to be written beside every table."""
    return "load {:.1f} {:.1f} {:.1f}".format(*os.getloadavg())

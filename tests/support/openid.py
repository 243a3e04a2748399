"""A real OpenID Connect provider on loopback: the accounts library's own, in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a secret between the provider and the portal"
CLIENT = "guesthouse"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where it answers, and who can sign in there."""

    issuer: str

    def passes(self, address: str, person: str) -> str:
        """Sign ``person`` in at the provider and follow ``address`` there; where it sends the browser back to.

        Raises ``AssertionError`` where it sends nobody back.
        """
        with httpx.Client(base_url=self.issuer, follow_redirects=False, timeout=30) as browser:
            browser.get(f"/enter/{person}")
            answer = browser.get(address)
            assert answer.status_code == 302, (answer.status_code, answer.text[:500])
            return answer.headers["Location"]


@contextmanager
def provider(place: Path, people: Mapping[str, Mapping[str, Any]], *, callback: str) -> Iterator[Provider]:
    """A provider that knows ``people``: by name, the claims it makes of them. ``callback`` is where the portal hears of them."""
    place.mkdir(parents=True, exist_ok=True)
    wish = json.dumps({"place": str(place), "people": people, "callback": callback, "client": CLIENT, "secret": SECRET})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.openid_provider", wish], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = re.fullmatch(r"port (\d+)\n", process.stdout.readline())
        assert port is not None, "the provider did not start"
        running = Provider(f"http://127.0.0.1:{port.group(1)}")
        httpx.get(
            f"{running.issuer}/.well-known/openid-configuration", timeout=60
        ).raise_for_status()  # its code is loaded
        yield running
    finally:
        process.terminate()
        process.wait()

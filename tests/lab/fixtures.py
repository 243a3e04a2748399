"""Pytest fixtures over the lab: real libvirt hosts, private to one test process, gone with it however it ends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of this test process's own; ``lab.up(3)`` brings host1 … host3, ``lab.host("host2")`` names one."""
    lab = Lab(Path(f"/var/tmp/ghlab-{secrets.token_hex(4)}"), tied=True)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def lab_host(lab: Lab) -> Host:
    """host1 of the lab, up. Whoever freezes, kills or unplugs it puts it right again."""
    return lab.up(1)[0]

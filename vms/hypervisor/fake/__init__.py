"""A host in memory, for tests: the same promises as the real driver, kept by the same contract tests.

Every connection to ``fake://NAME`` in one process sees the same ``FakeHost``; ``host("NAME")`` gives it to a test,
which may make calls fail or hang, silence the host, or act in a guest's or an operator's place.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from vms.hypervisor.errors import Unreachable
from vms.hypervisor.fake.cards import Cards
from vms.hypervisor.fake.copies import Copies
from vms.hypervisor.fake.host import FakeDomain, FakeHost, FakePool, forget_hosts, host
from vms.hypervisor.fake.inside import Inside
from vms.hypervisor.fake.members import Members
from vms.hypervisor.fake.moments import Moments
from vms.hypervisor.fake.sizes import Sizes
from vms.hypervisor.fake.stats import Stats

__all__ = ["FakeDomain", "FakeHost", "FakeHypervisor", "FakePool", "connect", "forget_hosts", "host"]


class FakeHypervisor(Inside, Moments, Sizes, Copies, Cards, Stats, Members):
    """The driver over a ``FakeHost``: the verbs of the protocol, with the real one's promises."""


def connect(uri: str, *, deadline_s: float = 3.0) -> FakeHypervisor:
    """A connection to ``fake://NAME``; ``Unreachable`` at once while the host is silent."""
    there = host(urlsplit(uri).hostname or "host")
    if there.silent:
        raise Unreachable(f"{uri}: no answer within {deadline_s} s")
    return FakeHypervisor(there)

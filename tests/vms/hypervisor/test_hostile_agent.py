"""P-D9: whatever a guest's agent says comes out as little plain text and real addresses, or not at all."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import pytest

from vms.hypervisor.driver import AgentFacts
from vms.hypervisor.libvirt_driver.agent import facts_from

NASTY: list[str] = [
    "<script>alert(1)</script>", "A" * 4_000_000, "\x1b]52;c;aGk=\x07", "\u202egnp.exe", "a\r\nb\0c", "\ud800", "",
    "10.0.0.1<b>", "127.0.0.1", "169.254.169.254", "fe80::1%eth0", "fe80::1%<b>", "999.1.1.1", "::ffff:10.0.0.1", "0x7f000001",
    "1" * 5000, " 10.0.0.1", "10.0.0.1\n",
]  # fmt: skip
MANY = 5000


@pytest.mark.parametrize("seed", range(20))
def test_nothing_an_agent_says_breaks_or_fills_anything(seed: int) -> None:
    """The shape is libvirt's, which parses the agent's JSON itself; every word in it is the guest's."""
    chance = random.Random(seed)
    who = {
        "hostname": chance.choice(NASTY),
        chance.choice(["os.name", "os.pretty-name", "os.id"]): chance.choice(NASTY),
    }
    cards: dict[str, Any] = {
        f"{chance.choice(NASTY)[:99]}{number}": {
            "addrs": chance.choice(
                [None, [{"addr": chance.choice(NASTY), "prefix": -1} for _ in range(chance.choice([1, 70]))]]
            ),
            "hwaddr": chance.choice(NASTY)[:99],
        }
        for number in range(chance.choice([0, 1, MANY]))
    }

    facts = facts_from(who, cards)

    for text in (facts.hostname, facts.os_name):
        assert len(text) <= 255
        assert text.isprintable()
    assert len(facts.addresses) <= 64
    assert all(str(ipaddress.ip_address(address)) == address for address in facts.addresses)


def test_an_agent_that_says_nothing_is_no_trouble() -> None:
    assert facts_from({}, {}) == AgentFacts()

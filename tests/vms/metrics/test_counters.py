"""Counters become amounts; whatever cannot be told is a gap, and never a zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vms.hypervisor.libvirt_driver.stats import stats_from
from vms.hypervisor.stats import DomainStats, Traffic
from vms.reconcile.sample import used

BEFORE = DomainStats(
    uuid="a",
    run=3,
    cpu_ns=1_000_000_000,
    disks={"vda": Traffic(1000, 2000, 10, 20)},
    nics={"vnet0": Traffic(100, 200, 1, 2)},
)
AFTER = replace(
    BEFORE, cpu_ns=31_000_000_000, disks={"vda": Traffic(5000, 2000, 14, 20)}, nics={"vnet0": Traffic(100, 900, 1, 7)}
)
FIGURES = {
    "cpu.time": 7, "balloon.available": 1000, "balloon.usable": 400, "balloon.last-update": 99,
    "block.count": 1, "block.0.name": "vda", "block.0.path": "/x", "block.0.rd.bytes": 1, "block.0.wr.bytes": 2,
    "block.0.rd.reqs": 3, "block.0.wr.reqs": 4,
    "net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 5, "net.0.tx.bytes": 6, "net.0.rx.pkts": 7, "net.0.tx.pkts": 8,
}  # fmt: skip


def test_differences_are_amounts() -> None:
    assert used(BEFORE, AFTER) == {
        "cpu_ms": 30_000,
        "disk_read_bytes": 4000,
        "disk_written_bytes": 0,
        "disk_reads": 4,
        "disk_writes": 0,
        "net_received_bytes": 0,
        "net_sent_bytes": 700,
        "net_received_packets": 0,
        "net_sent_packets": 5,
    }


@pytest.mark.parametrize(
    "after",
    [
        replace(AFTER, run=4),
        replace(AFTER, cpu_ns=5),
        replace(AFTER, disks={"vda": Traffic(1, 2000, 14, 20)}),
        replace(AFTER, nics={"vnet0": Traffic(2**64 - 1, 900, 1, 7)}),
    ],
    ids=["started anew, and further already", "cpu set back", "disk set back", "wrapped"],
)
def test_counters_of_another_life_are_not_compared(after: DomainStats) -> None:
    assert used(BEFORE, after) is None


def test_a_disk_that_was_plugged_in_counts_from_zero_and_one_that_went_is_forgotten() -> None:
    plugged = replace(AFTER, disks={"vdb": Traffic(50, 60, 5, 6)})

    amounts = used(BEFORE, plugged)

    assert amounts is not None
    assert (amounts["disk_read_bytes"], amounts["disk_written_bytes"]) == (50, 60)


def test_libvirts_figures_are_read() -> None:
    assert stats_from("a", 3, FIGURES) == DomainStats(
        uuid="a",
        run=3,
        cpu_ns=7,
        memory_used_kib=600,
        memory_told_at=99,
        disks={"vda": Traffic(1, 2, 3, 4)},
        nics={"vnet0": Traffic(5, 6, 7, 8)},
    )


@pytest.mark.parametrize(
    "missing", ["cpu.time", "block.0.wr.reqs", "net.0.tx.pkts"], ids=["cpu", "frozen monitor", "card"]
)
def test_a_guest_whose_figures_are_not_whole_is_left_out(missing: str) -> None:
    assert stats_from("a", 3, {name: value for name, value in FIGURES.items() if name != missing}) is None


def test_an_empty_drive_has_no_figures_and_hides_nothing() -> None:
    drive = {"block.count": 2, "block.1.name": "sda"}

    found = stats_from("a", 3, FIGURES | drive)

    assert found is not None
    assert set(found.disks) == {"vda"}


def test_a_guest_that_says_nothing_of_its_memory_has_none() -> None:
    silent = {name: value for name, value in FIGURES.items() if not name.startswith("balloon.")}

    found = stats_from("a", 3, silent)

    assert found is not None
    assert (found.memory_used_kib, found.memory_told_at) == (None, 0)

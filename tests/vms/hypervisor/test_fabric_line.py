"""The line to a fabric: fresh, whole, and refused to whoever has no certificate; a silent database is said to be silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import pki
from tests.lab.fabric import Fabric
from tests.vms.hypervisor.engines import clear
from vms.hypervisor.errors import Refused, Unreachable
from vms.hypervisor.ovn import wire
from vms.hypervisor.ovn.marks import row_id
from vms.hypervisor.ovn.wire import Change, Northbound, named

pytestmark = pytest.mark.xdist_group("machine")
PK = row_id("switch", "gh-line")


@pytest.fixture
def line(fabric: Fabric) -> Iterator[Northbound]:
    clear(fabric)
    yield wire.northbound(fabric.remote, str(fabric.pki))
    clear(fabric)


def make(change: Change) -> None:
    if PK not in change.rows("Logical_Switch"):
        change.insert("Logical_Switch", PK, name="gh-line")


def test_a_look_sees_what_somebody_else_has_just_done(fabric: Fabric, line: Northbound):
    for number in range(20):
        fabric.nbctl("ls-add", f"other-{number}")
        with line.look() as tables:
            assert named(tables, "Logical_Switch", f"other-{number}")


def test_what_is_so_already_changes_nothing(line: Northbound):
    assert line.change(make)
    assert not line.change(make)


def test_a_change_that_ends_in_an_error_leaves_nothing(line: Northbound):
    def half(change: Change) -> None:
        make(change)
        raise Refused("enough")

    with pytest.raises(Refused, match="enough"):
        line.change(half)

    with line.look() as tables:
        assert PK not in tables["Logical_Switch"].rows
    assert line.change(make)


def test_of_two_who_make_the_same_one_looks_again(fabric: Fabric, line: Northbound):
    wire.hang_up(fabric.remote, str(fabric.pki))
    other = wire.northbound(fabric.remote, str(fabric.pki))
    tried = []

    def late(change: Change) -> None:
        tried.append(PK in change.rows("Logical_Switch"))
        if len(tried) == 1:
            other.change(make)
        make(change)

    third = Northbound(fabric.remote, str(fabric.pki))
    third.change(late)
    third.close()

    assert tried == [False, True]
    assert len(fabric.nbctl("--bare", "--columns=name", "find", "Logical_Switch", "name=gh-line").split()) == 1


def test_a_frozen_database_is_silent_and_is_heard_again_once_it_answers(
    fabric: Fabric, line: Northbound, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "ANSWER_S", 1.0)
    fabric.freeze("nb")
    try:
        with pytest.raises(Unreachable), line.look():
            pass
        with pytest.raises(Unreachable):
            wire.northbound(fabric.remote, str(fabric.pki))
    finally:
        fabric.thaw("nb")
    monkeypatch.undo()

    assert wire.northbound(fabric.remote, str(fabric.pki)).change(make)


def test_a_database_that_died_is_there_again_with_what_it_held(fabric: Fabric, line: Northbound):
    line.change(make)

    fabric.kill("nb")
    fabric.start("nb")

    with wire.northbound(fabric.remote, str(fabric.pki)).look() as tables:
        assert PK in tables["Logical_Switch"].rows


def test_whom_the_authority_does_not_know_hears_nothing(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "ANSWER_S", 3.0)
    pki.make_authority(tmp_path / "other")
    pki.make_client(tmp_path / "other", tmp_path / "client", name="stranger")

    with pytest.raises(Unreachable):
        wire.northbound(fabric.remote, str(tmp_path / "client"))


def test_an_address_without_tls_and_a_folder_without_keys_are_refused(fabric: Fabric, tmp_path: Path):
    with pytest.raises(Refused, match="ssl:"):
        wire.northbound("tcp:127.0.0.1:6641", str(fabric.pki))
    with pytest.raises(Refused, match="cacert"):
        wire.northbound(fabric.remote, str(tmp_path))

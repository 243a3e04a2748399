"""A foreign image is converted by a child that can reach nothing, costs little, and leaves nothing when it fails."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.vms.disks.corpus import MIB, compressed_bomb, qcow2, sparse
from vms.disks import convert
from vms.disks.convert import Limits, flatten, to_qcow2
from vms.disks.errors import ConversionFailed, UnsafeImage
from vms.disks.inspect import GIB, Format


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory nobody else may enter, with a source disk in it: ``source.raw``, ``source.qcow2``."""
    desk = tmp_path / "desk"
    desk.mkdir(mode=0o700)
    raw = sparse(desk / "source.raw", os.urandom(4 * MIB), size=32 * MIB)
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, desk / "source.qcow2"], check=True)
    for path in desk.iterdir():
        path.chmod(0o600)
    return desk


@pytest.mark.parametrize("source_format", ["raw", "qcow2"])
def test_the_disk_is_the_same_and_ours(desk: Path, source_format: Format) -> None:
    """P-B15: what comes out is readable by us alone; the source is as it was."""
    source, target = desk / f"source.{source_format}", desk / "target.qcow2"
    before, steps = source.stat(), list[float]()

    written = to_qcow2(source, target, source_format=source_format, progress=steps.append)

    same = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(desk / "source.raw"), str(target)]
    assert subprocess.run(same, check=False, capture_output=True).returncode == 0
    assert subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", target], check=False).returncode == 0
    assert written.virtual_size == 32 * MIB
    assert steps == sorted(steps)
    assert steps[-1] == 100.0
    assert stat.filemode(target.stat().st_mode) == "-rw-------"
    after = source.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert left(desk) == {"source.raw", "source.qcow2", "target.qcow2"}


def test_a_disk_in_several_files_becomes_one_and_none_may_name_another(desk: Path) -> None:
    """P-B1: the order says what stands on what; what a file says itself is refused."""
    over = desk / "over"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", over, "32M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", over], check=True, capture_output=True)
    expected = sparse(desk / "expected", b"\7" * 65536 + (desk / "source.raw").read_bytes()[65536:], size=32 * MIB)

    written = flatten([(over, "qcow2"), (desk / "source.qcow2", "qcow2")], desk / "target")

    same = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(expected), str(desk / "target")]
    assert subprocess.run(same, check=False, capture_output=True).returncode == 0
    assert written.virtual_size == 32 * MIB
    below = desk / "below"
    below.write_bytes(qcow2(backing="/etc/passwd"))
    with pytest.raises(UnsafeImage):
        flatten([(over, "qcow2"), (below, "qcow2")], desk / "target")


def test_an_unsafe_image_never_reaches_qemu_img(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P-B1, P-B3: refused by inspection, before any child runs."""
    evil = desk / "evil"
    evil.write_bytes(qcow2(backing="/etc/passwd"))
    monkeypatch.setattr(convert, "_run", lambda *_, **__: pytest.fail("a child ran"))

    with pytest.raises(UnsafeImage):
        to_qcow2(evil, desk / "target", source_format="qcow2")
    with pytest.raises(UnsafeImage):
        to_qcow2(evil, desk / "target", source_format="raw")

    assert left(desk) == {"source.raw", "source.qcow2", "evil"}


def test_the_child_has_nothing_to_lose(desk: Path) -> None:
    """P-B3, P-B7: explicit formats, nobody, no capability, no network, limits; seen from inside."""
    work = desk / "work"
    work.mkdir()
    argv = convert._argv([(desk / "source.raw", "raw")], work, limits=Limits(cpu_s=7), largest=12345)
    look = (
        "id -u; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/self/limits; "
        "sed -n 's/:.*//p' /proc/net/dev; ls /mnt; echo x > /mnt/0"
    )
    at = argv.index("qemu-img")

    with convert._readable(desk / "source.raw", work):
        seen = subprocess.run([*argv[:at], "sh", "-c", look], check=False, capture_output=True, text=True)

    assert argv[at : at + 5] == ["qemu-img", "convert", "-p", "-O", "qcow2"]
    named = {"driver": "raw", "file": {"driver": "file", "filename": "/mnt/0"}}
    assert json.loads(argv[-2].removeprefix("json:")) == named
    said = seen.stdout.splitlines()
    assert said[0] == "65534"
    assert {line.split()[1] for line in said if line.startswith("Cap")} == {"0000000000000000"}
    assert "NoNewPrivs:\t1" in said
    assert [line.strip() for line in said[-3:]] == ["lo", "0", "out"]
    limits = {line[:25].strip(): line[25:].split()[0] for line in said if line.startswith("Max ")}
    assert limits["Max cpu time"] == "7"
    assert limits["Max file size"] == "12345"
    assert limits["Max address space"] == str(GIB)
    assert limits["Max open files"] == "64"
    assert seen.returncode != 0
    assert "Read-only" in seen.stderr or "Permission denied" in seen.stderr


def test_an_image_that_takes_too_long_is_killed(desk: Path) -> None:
    """P-B7: the deadline holds whatever the child does."""
    with pytest.raises(ConversionFailed) as failed:
        to_qcow2(desk / "source.qcow2", desk / "target", source_format="qcow2", limits=Limits(deadline_s=0))

    assert failed.value.code == "image_too_costly"
    assert left(desk) == {"source.raw", "source.qcow2"}


def test_a_bomb_is_stopped_by_the_processor_limit(desk: Path) -> None:
    """P-B6, P-B7: 64 GiB unpacked from the same few bytes pass inspection, and cost a second."""
    bomb = compressed_bomb(desk / "bomb", clusters=32768)
    assert bomb.stat().st_blocks * 512 < MIB

    with pytest.raises(ConversionFailed) as failed:
        to_qcow2(bomb, desk / "target", source_format="qcow2", limits=Limits(cpu_s=1, deadline_s=120))

    assert failed.value.code == "image_too_costly"
    assert left(desk) == {"source.raw", "source.qcow2", "bomb"}


def test_a_small_bomb_unpacks_to_nothing(desk: Path) -> None:
    """P-B6: zeros stay holes, so that a disk of 200 MiB of them takes no more room than its metadata."""
    bomb = compressed_bomb(desk / "bomb", clusters=100)

    written = to_qcow2(bomb, desk / "target", source_format="qcow2")

    assert written.virtual_size == 200 * MIB
    assert (desk / "target").stat().st_blocks * 512 < MIB


def test_a_full_disk_says_so_and_leaves_nothing(desk: Path) -> None:
    small = desk / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        with pytest.raises(ConversionFailed) as failed:
            to_qcow2(desk / "source.raw", small / "target", source_format="raw")

        assert left(small) == set()
    finally:
        subprocess.run(["umount", small], check=True)
    assert failed.value.code == "storage_full"


def test_a_damaged_image_fails_with_a_sentence(desk: Path) -> None:
    image = bytearray((desk / "source.qcow2").read_bytes())
    image[0x30000:0x30008] = b"\0\xff\xff\xff\xff\xff\xfe\0"  # a table that lies nowhere
    damaged = desk / "damaged"
    damaged.write_bytes(image)

    with pytest.raises(ConversionFailed, match="damaged"):
        to_qcow2(damaged, desk / "target", source_format="qcow2")

    assert left(desk) == {"source.raw", "source.qcow2", "damaged"}


def test_progress_can_cancel(desk: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel(_: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        to_qcow2(desk / "source.raw", desk / "target", source_format="raw", progress=cancel)

    assert left(desk) == {"source.raw", "source.qcow2"}


def test_an_existing_target_survives_a_failure(desk: Path) -> None:
    target = desk / "target"
    target.write_text("precious")

    with pytest.raises(ConversionFailed):
        to_qcow2(desk / "source.raw", target, source_format="raw", limits=Limits(deadline_s=0))

    assert target.read_text() == "precious"


def test_what_the_child_wrote_is_not_believed(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subverted qemu-img may leave an image that reaches for the host's files."""

    def subverted(argv: list[str], **_: object) -> None:
        work = next(Path(word) for word in argv if ".convert-" in word)
        (work / "image").write_bytes(qcow2(backing="/etc/shadow", size=32 * MIB))

    monkeypatch.setattr(convert, "_run", subverted)

    with pytest.raises(ConversionFailed, match="no clean image"):
        to_qcow2(desk / "source.raw", desk / "target", source_format="raw")

    assert left(desk) == {"source.raw", "source.qcow2"}


def test_it_works_without_privilege_too(tmp_path: Path) -> None:
    """A portal that is not root still converts, with limits."""
    desk = Path(f"/var/tmp/ghconvert-{os.getpid()}")
    desk.mkdir()
    os.chown(desk, 65534, 65534)
    try:
        source = sparse(desk / "source", b"x" * MIB, size=8 * MIB)
        os.chown(source, 65534, 65534)
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        argv = [*become, *unprivileged_argv(source, desk)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/")

        assert done.returncode == 0, done.stderr
        assert (desk / "image").stat().st_uid == 65534
    finally:
        shutil.rmtree(desk)


def unprivileged_argv(source: Path, work: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 65534)
        convert._without_network.cache_clear()
        return convert._argv([(source, "raw")], work, limits=Limits(), largest=64 * MIB)


def left(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}

"""Disks held at one moment and read over NBD: from QEMU where the machine runs, from a copy of the file where it does not."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import libvirt

from vms.hypervisor.backups import BackupView, DiskReader
from vms.hypervisor.errors import Missing, Refused, Unreachable
from vms.hypervisor.libvirt_driver.agent import SILENT
from vms.hypervisor.libvirt_driver.discs import Discs
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.nbd import NbdReader
from vms.hypervisor.xml.backup import BackupSpec, CheckpointSpec
from vms.hypervisor.xml.build import to_xml
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.parse import disks_of, root_of

_FREEZE_S: Final = 5
_ENDED_S: Final = 30.0
_CHUNK: Final = 1024 * 1024
_DEEP: Final = 64
"""So many files one disk may stand on."""
_LINE: Final = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
"""Who says that the line to the host broke, and not the host that it will not."""


class Backups(Discs):
    """The part of the driver that reads disks."""

    def backup_begin(
        self, uuid: str, paths: Sequence[str], *, checkpoint: str, since: str, socket: str, owner: Owner
    ) -> BackupView:
        """See the protocol."""
        self.backup_end(uuid, socket=socket, owner=owner)
        with translated(f"hold the disks of {uuid}"):
            raw = self._owned(uuid, owner)
            if not raw.isActive():
                raise Refused(f"domain {uuid} does not run")
            there = {disk.path: disk.target for disk in disks_of(root_of(raw.XMLDesc(0)))}
            lacks = set(paths) - set(there)
            if lacks:
                raise Missing(f"domain {uuid} has no disk on {sorted(lacks)}")
            targets = {path: there[path] for path in paths}
            names = {each.getName() for each in raw.listAllCheckpoints(0)}
            since = since if since in names else ""
            if not since:
                _drop_checkpoints(raw, names)
            elif checkpoint in names:
                _drop_checkpoints(raw, {checkpoint})
            frozen = _freeze(raw)
            try:
                since = _begin(raw, targets, tuple(there.values()), checkpoint, since, socket)
            finally:
                if frozen:
                    _thaw(raw)
        return BackupView(uuid, socket, since, frozen, targets)

    def backup_reader(self, view: BackupView, path: str) -> DiskReader:
        """See the protocol."""
        target = view.targets[path]
        return NbdReader(view.socket, target, bitmap=f"backup-{target}" if view.since else "")

    def backup_end(self, uuid: str, *, socket: str, owner: Owner) -> None:
        """See the protocol."""
        with translated(f"let go of the disks of {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return
            raw = self._owned(uuid, owner)
            if raw.isActive():
                _stop(raw)
                _thaw(raw)
            for disk in disks_of(root_of(raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))):
                self._drop(scratch_of(disk.path))
        Path(socket).unlink(missing_ok=True)

    def checkpoints(self, uuid: str) -> tuple[str, ...]:
        """See the protocol."""
        with translated(f"look at the checkpoints of {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return ()
            flags = libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
            return tuple(checkpoint.getName() for checkpoint in raw.listAllCheckpoints(flags))

    def drop_checkpoints(self, uuid: str, *, keep: Collection[str], owner: Owner) -> None:
        """See the protocol."""
        with translated(f"drop checkpoints of {uuid}"):
            raw = self._find(uuid)
            if raw is None or not raw.isActive():
                return
            raw = self._owned(uuid, owner)
            _drop_checkpoints(raw, {each.getName() for each in raw.listAllCheckpoints(0)} - set(keep))

    def volume_reader(
        self, pool: str, name: str, *, scratch: Path, at_most: int, progress: Callable[[int], None] | None = None
    ) -> DiskReader:
        """See the protocol."""
        with translated(f"read volume {name}"):
            layers = list(self._layers(pool, name))
            _refuse_large(layers, scratch, at_most)
            files: list[tuple[Path, str]] = []
            done = 0
            for number, volume in enumerate(layers):
                file = scratch / f"{number}.layer"
                done = self._fetch(volume, file, done, progress)
                files.append((file, format_of(volume)))
        stack(files)
        return ServedReader(*files[0])

    def _drop(self, path: str) -> None:
        """Remove a file of one of our pools by its path."""
        try:
            volume = self.raw.storageVolLookupByPath(path)
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise
            return
        volume.delete(0)

    def _layers(self, pool: str, name: str) -> Iterator[Any]:
        """The volume and what it stands on, topmost first."""
        raw_pool = self._get_pool(pool)
        for _depth in range(_DEEP):
            volume = self._find_volume(raw_pool, name)
            if volume is None:
                raise Missing(f"pool {pool} has no volume {name}")
            yield volume
            below = root_of(volume.XMLDesc(0)).findtext("backingStore/path", "")
            if not below:
                return
            name = Path(below).name
        raise Refused(f"a volume of pool {pool} stands on more than {_DEEP} others")

    def _fetch(self, volume: Any, into: Path, done: int, progress: Callable[[int], None] | None) -> int:
        size = int(root_of(volume.XMLDesc(0)).findtext("physical", "0"))
        stream = self.raw.newStream(0)
        volume.download(stream, 0, size, 0)
        try:
            with into.open("wb") as file:
                while chunk := stream.recv(_CHUNK):
                    if file.tell() + len(chunk) > size:
                        raise Refused("more came of the disk than its host said")
                    file.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done)
            stream.finish()
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise
        return done


def _refuse_large(layers: Sequence[Any], scratch: Path, at_most: int) -> None:
    """Raise ``Refused`` for a disk of more than ``at_most`` bytes, or whose files do not fit into ``scratch``."""
    described = [root_of(volume.XMLDesc(0)) for volume in layers]
    capacity = int(described[0].findtext("capacity", "0"))
    if capacity > at_most:
        raise Refused(f"a disk of {capacity} bytes, where {at_most} were expected")
    files = sum(int(each.findtext("physical", "0")) for each in described)
    if files > shutil.disk_usage(scratch).free:
        raise Refused(f"there is no room on the worker for {files} bytes")


def stack(files: Sequence[tuple[Path, str]]) -> None:
    """Have each fetched file (with its format) stand on the next, and the last on nothing, whatever its host wrote into it.

    Else a host could name a file of ours and find it in a backup. Raises ``Refused`` where one keeps its data in another file.
    """
    for file, format_ in files:
        if format_ == "qcow2" and _keeps_data_elsewhere(file):
            raise Refused("the copy of the disk names another file")
    for (upper, format_), (lower, below) in itertools.pairwise(files):
        _qemu_img("rebase", "-u", "-f", format_, "-F", below, "-b", str(lower), str(upper))
    last, format_ = files[-1]
    if format_ == "qcow2":
        _qemu_img("rebase", "-u", "-f", format_, "-b", "", str(last))


def _keeps_data_elsewhere(file: Path) -> bool:
    """Is bit 2 of the qcow2 header's incompatible features set? Only version 3 has features.

    Source: https://github.com/qemu/qemu/blob/master/docs/interop/qcow2.txt
    """
    with file.open("rb") as opened:
        head = opened.read(80)
    return len(head) == 80 and head[4:8] != b"\0\0\0\2" and bool(head[79] & 4)


def scratch_of(path: str) -> str:
    """Where QEMU keeps what the machine overwrites while its disk on ``path`` is held: beside it."""
    return f"{path}.held"


def _begin(
    raw: Any, targets: dict[str, str], all_of_it: Sequence[str], checkpoint: str, since: str, socket: str
) -> str:
    """Hold the disks; since which checkpoint changes are known, empty where its bitmaps turned out to be of no use."""
    others = [target for target in all_of_it if target not in targets.values()]
    scratch = {target: scratch_of(path) for path, target in targets.items()}
    mark = to_xml(CheckpointSpec(checkpoint, tuple(targets.values()), others).element())
    for basis in (since, "") if since else ("",):
        try:
            raw.backupBegin(to_xml(BackupSpec(socket, scratch, others, basis).element()), mark, 0)
        except libvirt.libvirtError as error:
            if not basis or error.get_error_domain() in _LINE:
                raise
            _drop_checkpoints(raw, {each.getName() for each in raw.listAllCheckpoints(0)})
            continue
        return basis
    raise AssertionError("the last attempt returns or raises")


def _drop_checkpoints(raw: Any, names: Collection[str]) -> None:
    """Forget checkpoints, oldest first; one whose bitmap is broken or gone is forgotten without it."""
    for checkpoint in raw.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL):
        if checkpoint.getName() not in names:
            continue
        try:
            checkpoint.delete(0)
        except libvirt.libvirtError as error:
            if error.get_error_domain() in _LINE:
                raise
            checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


def _freeze(raw: Any) -> bool:
    """Ask the agent to flush and stop writing; True if it did."""
    try:
        raw.agentSetResponseTimeout(_FREEZE_S, 0)
        raw.fsFreeze()
    except libvirt.libvirtError as error:
        if error.get_error_code() in SILENT:
            return False
        raise
    return True


def _thaw(raw: Any) -> None:
    """Let it write again; an agent that does not answer has frozen nothing that it could thaw now."""
    try:
        raw.agentSetResponseTimeout(_FREEZE_S, 0)
        raw.fsThaw()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in SILENT:
            raise


def _stop(raw: Any) -> None:
    """End a view that is open; libvirt ends the job by itself some moments later."""
    until = time.monotonic() + _ENDED_S
    while _is_held(raw):
        with contextlib.suppress(libvirt.libvirtError):  # over already, or not yet to be ended: the next look tells
            raw.abortJob()
        if time.monotonic() > until:
            raise Unreachable("a backup job does not end")
        time.sleep(0.05)


def _is_held(raw: Any) -> bool:
    try:
        raw.backupGetXMLDesc(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_BACKUP, libvirt.VIR_ERR_OPERATION_INVALID):
            return False
        raise
    return True


class ServedReader(NbdReader):
    """A file read through a server of its own, which ends with this process or with ``close``."""

    def __init__(self, file: Path, format_: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gh-nbd-")  # a socket's path is short, the file's may be long
        socket = Path(self._folder.name) / "nbd"
        command = ["qemu-nbd", "--read-only", f"--format={format_}", "--persistent", f"--socket={socket}", str(file)]
        self._server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            _await_socket(socket, self._server)
            super().__init__(str(socket), "")
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Hang up, and end the server."""
        super().close()
        self._end()

    def _end(self) -> None:
        self._server.kill()
        self._server.wait()
        self._folder.cleanup()


def _await_socket(socket: Path, server: subprocess.Popen[bytes], *, timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > until:
            raise Refused("the copy of the disk could not be opened")
        time.sleep(0.02)


def format_of(volume: Any) -> Literal["qcow2", "raw"]:
    """What QEMU opens a volume's file as; what is no qcow2 is raw."""
    found = root_of(volume.XMLDesc(0)).find("target/format")
    return "raw" if found is None or found.get("type") != "qcow2" else "qcow2"


def _qemu_img(*arguments: str) -> None:
    done = subprocess.run(
        ["qemu-img", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise Refused(f"qemu-img {arguments[0]}: {done.stderr[-500:]}")

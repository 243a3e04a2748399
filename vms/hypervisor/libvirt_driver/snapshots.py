"""Snapshots inside the files of disks: by QEMU where a domain runs on them, by the host's ``qemu-img`` where nobody does.

For the latter libvirt wants a domain: a *keeper* is defined for the moment, which has just those disks and never runs.
Source: https://libvirt.org/html/libvirt-libvirt-domain-snapshot.html
"""

from __future__ import annotations

import contextlib
import uuid as uuids
from collections.abc import Iterator, Sequence
from typing import Any, Final

import libvirt

from vms.hypervisor import allowlist, qcow2
from vms.hypervisor.driver import Roots
from vms.hypervisor.errors import HypervisorError, Missing, Refused
from vms.hypervisor.libvirt_driver import monitor
from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.link import must_be_ours
from vms.hypervisor.libvirt_driver.storage import Storage
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.paths import is_below
from vms.hypervisor.snapshots import Awake, SeenSnapshot
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.parse import root_of, tag_of
from vms.hypervisor.xml.snapshot import MOST_DISKS, Keeper, awakened, files_of, snapshot_xml, written_files
from vms.names import keeper_name

FREEZE_S: Final = 5
_BOOKS: Final = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
_FORGET: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class Snapshots(Domains, Storage):
    """The part of the driver that speaks of snapshots."""

    def snapshots(self, pool: str, name: str) -> tuple[SeenSnapshot, ...]:
        with translated(f"look at the snapshots of {name}"):
            raw = self._find_volume(self._get_pool(pool), name)
            if raw is None:
                raise Missing(f"pool {pool} has no volume {name}")
            return tuple(SeenSnapshot(each.name, each.capacity, each.memory) for each in self._table(raw))

    def take_snapshot(
        self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots, freeze: bool
    ) -> bool:
        """See the protocol."""
        with translated(f"take snapshot {name}"):
            raw, nodes = self._running_on(uuid, paths, owner)
            if raw is None or not nodes:
                self.drop_snapshot(name, paths, uuid="", owner=owner, roots=roots)
                with self._keeper(paths, owner, roots) as keeper:
                    keeper.snapshotCreateXML(snapshot_xml(name), 0)
                return False
            if len(nodes) != len(paths):
                raise Refused(f"domain {uuid} runs on {len(nodes)} of {len(paths)} disks")
            if not freeze:
                self._take_live(raw, nodes, name)
                return False
            with _frozen(raw) as holds_still:
                self._take_live(raw, nodes, name)
            return holds_still

    def take_memory(self, name: str, *, uuid: str, owner: Owner) -> str:
        """See the protocol."""
        with translated(f"take snapshot {name} with memory"):
            raw = self._get(uuid)
            must_be_ours(tag_of(root_of(raw.XMLDesc(0))), owner, f"domain {uuid}")
            if not raw.isActive():
                raise Refused(f"domain {uuid} does not run: it has no memory")
            _forget_books(raw, name)
            for node in monitor.nodes_on(raw, sorted(written_files(root_of(raw.XMLDesc(0))))):
                monitor.drop(raw, node, name)
            definition = str(raw.XMLDesc(0))
            taken = raw.snapshotCreateXML(snapshot_xml(name), 0)
            taken.delete(_BOOKS)
            return definition

    def revert_snapshot(self, name: str, paths: Sequence[str], *, owner: Owner, roots: Roots) -> None:
        """See the protocol."""
        with translated(f"revert to snapshot {name}"):
            for path in paths:
                if not self._keeps(path, name):
                    raise Missing(f"{path} holds no snapshot {name}")
            with self._keeper(paths, owner, roots) as keeper:
                definition = root_of(keeper.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
                known = keeper.snapshotCreateXML(
                    snapshot_xml(name, domain=definition), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
                )
                try:
                    keeper.revertToSnapshot(known, 0)
                except libvirt.libvirtError as error:
                    if "bitmap" not in (error.get_error_message() or ""):
                        raise
                    _drop_bitmaps(keeper, paths)
                    keeper.revertToSnapshot(known, 0)
            self._look_again(paths)

    def wake_snapshot(self, name: str, awake: Awake, *, uuid: str, owner: Owner, roots: Roots) -> None:
        """See the protocol."""
        root = root_of(awake.definition)
        if any(not is_below(path, roots.storage) for path in files_of(root)):
            raise Refused(f"the definition kept with snapshot {name} leaves our folders")
        if written_files(root) != set(awake.paths) or root.findtext("uuid") != uuid:
            raise Refused(f"the definition kept with snapshot {name} is of another machine, or has other disks")
        with translated(f"wake from snapshot {name}"):
            raw = self._get(uuid)
            must_be_ours(tag_of(root_of(raw.XMLDesc(0))), owner, f"domain {uuid}")
            if raw.isActive():
                raise Refused(f"domain {uuid} runs")
            _forget_books(raw, name)
            again = awakened(root, tag=awake.tag, password=awake.password)
            known = raw.snapshotCreateXML(
                snapshot_xml(name, domain=again, state="running"), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
            )
            try:
                raw.revertToSnapshot(known, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING)
            finally:
                known.delete(_BOOKS)
            self._look_again(list(awake.paths))

    def drop_snapshot(self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots) -> None:
        """See the protocol. ``qemu-img``'s failures are lost on the way through libvirt, so the files are read afterwards."""
        with translated(f"drop snapshot {name}"):
            raw, nodes = self._running_on(uuid, paths, owner)
            for node in nodes:
                monitor.drop(raw, node, name)
            live = {node.path for node in nodes}
            held = [path for path in paths if path not in live and self._keeps(path, name)]
            if not held:
                return
            with self._keeper(held, owner, roots) as keeper:
                definition = root_of(keeper.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
                keeper.snapshotCreateXML(
                    snapshot_xml(name, domain=definition), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
                ).delete(0)
            if left := [path for path in held if self._keeps(path, name)]:
                raise Refused(f"{', '.join(left)} holds snapshot {name} still")

    # --- helpers ------------------------------------------------------------------------------------------------
    def _running_on(self, uuid: str, paths: Sequence[str], owner: Owner) -> tuple[Any | None, list[monitor.Node]]:
        """The domain, if it runs, and its nodes on those of ``paths`` that it has open."""
        raw = self._find(uuid) if uuid else None
        if raw is None or not raw.isActive():
            return None, []
        must_be_ours(tag_of(root_of(raw.XMLDesc(0))), owner, f"domain {uuid}")
        return raw, monitor.nodes_on(raw, paths)

    def _take_live(self, raw: Any, nodes: Sequence[monitor.Node], name: str) -> None:
        for node in nodes:
            monitor.drop(raw, node, name)
        monitor.take(raw, nodes, name)

    @contextlib.contextmanager
    def _keeper(self, paths: Sequence[str], owner: Owner, roots: Roots) -> Iterator[Any]:
        """A domain that has the disks and does not run; what a worker that died left of it is in nobody's way."""
        if not 0 < len(paths) <= MOST_DISKS:
            raise Refused(f"{len(paths)} disks at once")
        name = keeper_name(owner, paths[0])
        spec = Keeper(name=name, uuid=str(uuids.uuid5(uuids.NAMESPACE_OID, name)), owner=owner, paths=paths)
        try:
            for disk in spec.disks():
                allowlist.check_disk(disk, roots=roots)
        except ValueError as error:
            raise Refused(f"{name}: {error}") from error
        self._forget_keeper(spec)
        raw = self.raw.defineXML(spec.xml())
        try:
            yield raw
        finally:
            with contextlib.suppress(HypervisorError, libvirt.libvirtError):
                self._forget_keeper(spec)

    def _forget_keeper(self, spec: Keeper) -> None:
        raw = self._find(spec.uuid)
        if raw is None:
            return
        must_be_ours(tag_of(root_of(raw.XMLDesc(0))), spec.owner, f"domain {spec.name}")
        if raw.isActive():
            raw.destroy()
        raw.undefineFlags(_FORGET)

    def _keeps(self, path: str, name: str) -> bool:
        raw = self._by_path(path)
        return raw is not None and any(each.name == name for each in self._table(raw))

    def _by_path(self, path: str) -> Any | None:
        try:
            return self.raw.storageVolLookupByPath(path)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _look_again(self, paths: Sequence[str]) -> None:
        """Have libvirt read the files' sizes anew: a snapshot brings its own back."""
        for path in paths:
            raw = self._by_path(path)
            if raw is not None:
                raw.storagePoolLookupByVolume().refresh(0)
                return

    def _table(self, raw: Any) -> tuple[qcow2.Entry, ...]:
        try:
            count, offset = qcow2.table_place(self._bytes(raw, 0, qcow2.HEADER_BYTES))
            return qcow2.table_read(self._bytes(raw, offset, count * qcow2.ENTRY_BYTES), count) if count else ()
        except qcow2.BadTable as error:
            raise Refused(f"{raw.name()}: {error}") from error

    def _bytes(self, raw: Any, offset: int, size: int) -> bytes:
        """At most ``size`` bytes of the volume's file, fewer at its end."""
        stream, found = self.raw.newStream(0), bytearray()
        try:
            raw.download(stream, offset, size, 0)
            while chunk := stream.recv(size):
                found += chunk
            stream.finish()
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise
        return bytes(found[:size])


@contextlib.contextmanager
def _frozen(raw: Any) -> Iterator[bool]:
    """The guest's file systems stand still for the block, if its agent says so within its limit; True then.

    A worker that died in the block left them frozen: they are let go first. A paused guest's agent cannot answer.
    """
    if raw.state()[0] not in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        yield False
        return
    try:
        raw.agentSetResponseTimeout(FREEZE_S, 0)
        raw.fsThaw()
    except libvirt.libvirtError:
        yield False
        return
    try:
        raw.fsFreeze()
        holds_still = True
    except libvirt.libvirtError:
        holds_still = False  # or it freezes yet, once it has the time: let go below
    try:
        yield holds_still
    finally:
        if holds_still:
            raw.fsThaw()
        else:
            with contextlib.suppress(libvirt.libvirtError):
                raw.fsThaw()


def _forget_books(raw: Any, name: str) -> None:
    """libvirt knows of no snapshot of that name; the disks stay as they are."""
    for known in raw.listAllSnapshots(0):
        if known.getName() == name:
            known.delete(_BOOKS)


def _drop_bitmaps(keeper: Any, paths: Sequence[str]) -> None:
    """QEMU reverts no disk that tracks changes; only a QEMU that has the disk open can forget those, so one has for a moment."""
    keeper.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    try:
        for node in monitor.nodes_on(keeper, paths):
            monitor.drop_bitmaps(keeper, node)
    finally:
        keeper.destroy()

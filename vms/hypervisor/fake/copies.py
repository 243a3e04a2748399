"""What a ``FakeHost``'s disks held, as raw files: the words a test wrote, and zeros behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vms.hypervisor.copies import Fetched
from vms.hypervisor.errors import Missing
from vms.hypervisor.fake.backups import Backups
from vms.hypervisor.fake.snapshots import Snapshots


class Copies(Backups, Snapshots):
    """The protocol's verb for copies."""

    def fetch_snapshot(
        self,
        pool: str,
        name: str,
        snapshot: str,
        *,
        scratch: Path,
        progress: Callable[[int, int], None],
    ) -> tuple[Fetched, ...]:
        with self._host.call("fetch_snapshot"):
            found = self._get_pool(pool).volumes.get(name)
            kept = self._host.kept.get(found[0].path, {}).get(snapshot) if found is not None else None
            if kept is None:
                raise Missing(f"{name} holds no snapshot {snapshot}")
            content, file = kept.content.encode(), scratch / "0.layer"
            progress(0, len(content))
            with file.open("wb") as opened:
                opened.write(content)
                opened.truncate(kept.capacity)
            progress(len(content), len(content))
            return (Fetched(file, "raw"),)

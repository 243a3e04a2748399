"""The same portal in memory as reconciling is tried on."""

from __future__ import annotations

from tests.vms.reconcile.conftest import bench

__all__ = ["bench"]

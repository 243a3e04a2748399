"""Rows of the product's nouns."""

from vms.models.backup_schedules import BackupSchedule, BackupTurn
from vms.models.backups import Backup, BackupDisk, BackupRepository, BackupStore
from vms.models.discs import Disc
from vms.models.disk_exports import DiskExport
from vms.models.fabrics import Fabric
from vms.models.flavors import Flavor
from vms.models.guests import Guest, Tag
from vms.models.hosts import Drift, Host, HostClaim, HostPool, SetAside
from vms.models.image_tests import ImageTest
from vms.models.images import Image, ImageCopy, ImageUpload
from vms.models.installation import Installation
from vms.models.keys import SshKey
from vms.models.metrics import MetricPoint
from vms.models.networks import Address, AddressUse, CardCounter, Network, NetworkOnHost, Port, Subnet
from vms.models.placement import PlacementGroup
from vms.models.readings import Reading
from vms.models.schedules import PowerSchedule
from vms.models.security import Guard, SecurityGroup
from vms.models.snapshots import Snapshot, SnapshotDisk
from vms.models.spares import Spare
from vms.models.volumes import StorageClass, StoragePool, Volume

__all__ = [
    "Address",
    "AddressUse",
    "Backup",
    "BackupDisk",
    "BackupRepository",
    "BackupSchedule",
    "BackupStore",
    "BackupTurn",
    "CardCounter",
    "Disc",
    "DiskExport",
    "Drift",
    "Fabric",
    "Flavor",
    "Guard",
    "Guest",
    "Host",
    "HostClaim",
    "HostPool",
    "Image",
    "ImageCopy",
    "ImageTest",
    "ImageUpload",
    "Installation",
    "MetricPoint",
    "Network",
    "NetworkOnHost",
    "PlacementGroup",
    "Port",
    "PowerSchedule",
    "Reading",
    "SecurityGroup",
    "SetAside",
    "Snapshot",
    "SnapshotDisk",
    "Spare",
    "SshKey",
    "StorageClass",
    "StoragePool",
    "Subnet",
    "Tag",
    "Volume",
]

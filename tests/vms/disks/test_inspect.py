"""An image is what its bytes say, not what its bringer says, and it stands alone or it is refused."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.vms.disks import corpus
from tests.vms.disks.corpus import MIB, qcow2
from vms.disks.errors import UnsafeImage
from vms.disks.inspect import GIB, Format, Inspected, Limits, inspect

BACKING_FORMAT, DATA_FILE, ENCRYPTION = 0xE2792ACA, 0x44415441, 0x0537BE77


def test_a_clean_qcow2_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(qcow2(size=5 * GIB, l1_entries=16))

    assert inspect(path) == Inspected("qcow2", 5 * GIB, path.stat().st_size)


@pytest.mark.parametrize("options", ["compat=0.10", "compat=1.1", "cluster_size=2M", "cluster_size=512"])
@pytest.mark.parametrize("size", ["512", "10M", "20G"])
def test_what_qemu_img_makes_is_taken(tmp_path: Path, options: str, size: str) -> None:
    path = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, size], check=True)

    assert inspect(path, declared="qcow2").format == "qcow2"


@pytest.mark.parametrize(
    ("image", "content"),
    [
        pytest.param(b"\0" * MIB, "unknown", id="empty disk"),
        pytest.param(corpus.mbr(b"\0" * MIB), "disk", id="partition table"),
        pytest.param(corpus.iso(b"\0" * MIB), "iso", id="cd"),
        pytest.param(b"x" * 100, "unknown", id="shorter than a sector"),
    ],
)
def test_a_raw_disk_is_taken_as_what_it_is(tmp_path: Path, image: bytes, content: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(image)

    assert inspect(path, declared="raw") == Inspected("raw", len(image), len(image), content)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "backing", ["/etc/passwd", "../secret", "json:{}", "nbd://127.0.0.1/x", "http://127.0.0.1/x", "fat:/etc"]
)
def test_a_backing_file_is_refused(tmp_path: Path, version: int, backing: str) -> None:
    """P-B1: a qcow2 that builds on a file of the host reads it into the guest."""
    assert refusal(tmp_path, qcow2(version=version, backing=backing)) == "image_backing_file"


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(qcow2(incompatible=1 << 2), "image_data_file", id="feature bit"),
        pytest.param(
            qcow2(incompatible=1 << 2, extensions=[(DATA_FILE, b"/etc/passwd")]), "image_data_file", id="bit and name"
        ),
        pytest.param(qcow2(extensions=[(DATA_FILE, b"/etc/passwd")]), "image_data_file", id="name without bit"),
        pytest.param(qcow2(incompatible=1 << 1), "image_features", id="marked corrupt"),
        pytest.param(qcow2(incompatible=1 << 4), "image_features", id="extended second level"),
        *[pytest.param(qcow2(incompatible=1 << bit), "image_features", id=f"unknown bit {bit}") for bit in (5, 31, 63)],
        pytest.param(qcow2(extensions=[(BACKING_FORMAT, b"raw")]), "image_unsafe", id="backing format alone"),
        pytest.param(qcow2(extensions=[(ENCRYPTION, b"\0" * 16)]), "image_unsafe", id="encryption header"),
        pytest.param(qcow2(extensions=[(0x12345678, b"")]), "image_features", id="unknown extension"),
        pytest.param(qcow2(encryption=1), "image_encrypted", id="aes"),
        pytest.param(qcow2(encryption=2), "image_encrypted", id="luks"),
        pytest.param(qcow2(snapshots=1), "image_snapshots", id="snapshots"),
        pytest.param(qcow2(version=4), "image_format", id="version 4"),
    ],
)
def test_features_that_reach_out_or_are_unknown_are_refused(tmp_path: Path, image: bytes, code: str) -> None:
    """P-B2: an external data file names any file of the host, as a bit, a name, or a feature yet to come."""
    assert refusal(tmp_path, image) == code


@pytest.mark.parametrize(
    ("image", "declared", "code"),
    [
        pytest.param(qcow2(), "raw", "image_format_mismatch", id="qcow2 called raw"),
        pytest.param(qcow2(backing="/etc/passwd"), "raw", "image_format_mismatch", id="backing file called raw"),
        pytest.param(b"\0" * MIB, "qcow2", "image_format_mismatch", id="raw called qcow2"),
        pytest.param(corpus.mbr(qcow2()), None, "image_ambiguous", id="partition table and qcow2"),
        pytest.param(corpus.iso(qcow2()), None, "image_ambiguous", id="cd and qcow2"),
    ],
)
def test_a_file_that_is_two_things_is_refused(tmp_path: Path, image: bytes, declared: Format | None, code: str) -> None:
    """P-B3: what one program takes for raw, the next finds to be qcow2 and follows."""
    assert refusal(tmp_path, image, declared=declared) == code


@pytest.mark.parametrize("declared", [None, "raw"])
@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vpc", "vhdx", "qed", "parallels", "luks", "qcow"])
def test_other_formats_are_refused(tmp_path: Path, kind: str, declared: Format | None) -> None:
    """P-B4: formats whose descriptors name files are not opened at all."""
    path = tmp_path / "image"
    if kind == "luks":  # qemu-img cannot measure its key's cost on a busy machine, and gives up
        path.write_bytes(b"LUKS\xba\xbe\0\1aes".ljust(10 * MIB, b"\0"))
    else:
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, path, "10M"], check=True)

    with pytest.raises(UnsafeImage) as refused:
        inspect(path, declared=declared)

    assert refused.value.code in ("image_format", "image_format_mismatch")


def test_a_vmdk_descriptor_is_refused(tmp_path: Path) -> None:
    """P-B4: monolithicFlat with an extent that is a file of the host."""
    assert refusal(tmp_path, corpus.VMDK_DESCRIPTOR) == "image_format"


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(qcow2(size=60 * 1024 * GIB, l1_entries=122880), "image_damaged", id="tables beyond the end"),
        pytest.param(qcow2(size=60 * 1024 * GIB), "image_damaged", id="too few tables"),
        pytest.param(qcow2(size=0), "image_damaged", id="no disk"),
        pytest.param(qcow2(size=MIB + 1), "image_damaged", id="half a sector"),
        pytest.param(qcow2(size=2**63, l1_entries=2**32 - 1), "image_damaged", id="all numbers at their largest"),
        pytest.param(qcow2(l1_entries=2**22), "image_damaged", id="a table of 32 MiB for a disk of 1"),
        pytest.param(qcow2(l1_offset=3), "image_damaged", id="a table in the header"),
        pytest.param(qcow2(refcount_clusters=2**20), "image_damaged", id="reference counts without end"),
        pytest.param(qcow2(cluster_bits=63), "image_damaged", id="a cluster of 8 EiB"),
        pytest.param(qcow2(end=False), "image_damaged", id="extensions without end"),
        pytest.param(qcow2(header_length=2**20), "image_damaged", id="a header of 1 MiB"),
        pytest.param(qcow2()[:80], "image_damaged", id="cut short"),
        pytest.param(b"", "image_empty", id="empty"),
        pytest.param(gzip.compress(b"\0" * MIB), "image_compressed", id="gzip bomb"),
        pytest.param(lzma.compress(b"\0" * MIB), "image_compressed", id="xz bomb"),
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, image: bytes, code: str) -> None:
    """P-B6, P-B7: nothing is allocated on the word of a header."""
    assert refusal(tmp_path, image) == code


def test_a_huge_disk_in_a_small_file_is_refused(tmp_path: Path) -> None:
    """P-B6: 60 TiB that pass every check of the header."""
    image = bytearray(qcow2(size=60 * 1024 * GIB, l1_entries=122880))
    path = corpus.sparse(tmp_path / "image", bytes(image), size=2 * MIB)

    with pytest.raises(UnsafeImage) as refused:
        inspect(path)

    assert refused.value.code == "image_too_large"
    assert inspect(path, limits=Limits(max_virtual_size=64 * 1024 * GIB)).virtual_size == 60 * 1024 * GIB


def test_a_huge_sparse_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = corpus.sparse(tmp_path / "image", b"", size=10 * 1024 * GIB)

    with pytest.raises(UnsafeImage) as refused:
        inspect(path)

    assert refused.value.code == "image_too_large"


def test_a_zip_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "image"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.raw", b"\0" * MIB)

    with pytest.raises(UnsafeImage, match="zip archive: unpack it first"):
        inspect(path)


@pytest.mark.parametrize("kind", ["symlink", "pipe", "directory", "device", "missing"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    match kind:
        case "symlink":
            path.symlink_to("/etc/passwd")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")

    with pytest.raises(UnsafeImage):
        inspect(path)


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_surprises(tmp_path: Path, seed: int) -> None:
    """Whatever the bytes, the answer is an Inspected or a refusal."""
    chance = random.Random(seed)
    for _ in range(50):
        image = bytearray(chance.choice([qcow2(), qcow2(version=2), corpus.mbr(qcow2()), corpus.VMDK_DESCRIPTOR * 9]))
        for _ in range(chance.randint(1, 12)):
            image[chance.randrange(min(len(image), 600))] = chance.randrange(256)
        path = tmp_path / "image"
        path.write_bytes(image[: chance.randint(1, len(image))])
        try:
            seen = inspect(path)
        except UnsafeImage:
            continue
        assert seen.virtual_size > 0
        assert seen.format == ("qcow2" if path.read_bytes().startswith(b"QFI\xfb") else "raw")


def refusal(tmp_path: Path, image: bytes, *, declared: Format | None = None) -> str:
    path = tmp_path / "image"
    path.write_bytes(image)
    with pytest.raises(UnsafeImage) as refused:
        inspect(path, declared=declared)
    assert refused.value.sentence.endswith(".")
    return refused.value.code

"""Of a file of checksums the right line is taken, however its maker writes it, or none."""

from __future__ import annotations

import pytest

from vms.disks.errors import FetchFailed
from vms.disks.sums import pick_sum

A, B, LONG = "a" * 64, "b" * 64, "c" * 128


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"{B}  other.qcow2\n{A}  disk.qcow2\n", A),
        (f"{B} *other.img\n{A} *disk.qcow2\n", A),
        (f"{LONG}  disk.qcow2\r\n", LONG),
        (f"{A}  ./disk.qcow2\n", A),
        (f"# disk.qcow2: 5 bytes\nSHA256 (disk.qcow2) = {A.upper()}\nSHA256 (other) = {B}\n", A),
        (
            f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSHA256 (disk.qcow2) = {A}\n-----BEGIN PGP SIGNATURE-----\nx",
            A,
        ),
        (f"{LONG}\n", LONG),
        (f"{A}  disk.qcow2\n{A} *disk.qcow2\n", A),
    ],
)
def test_the_line_of_the_file_is_found(text: str, digest: str) -> None:
    assert pick_sum(text, "disk.qcow2") == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>404</html>",
        f"{B}  other.qcow2\n",
        f"{A}  disk.qcow2.old\n",
        f"{A}  x disk.qcow2\n",
        f"{A}  disk.qcow2\n{B}  disk.qcow2\n",
        f"{A}\n{B}\n",
        f"{A[1:]}  disk.qcow2\n",
        f"{A}z  disk.qcow2\n",
        f"MD5 (disk.qcow2) = {A}\n",
    ],
)
def test_where_it_does_not_stand_nothing_is_guessed(text: str) -> None:
    with pytest.raises(FetchFailed):
        pick_sum(text, "disk.qcow2")

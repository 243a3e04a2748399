"""A build that fails says why and leaves what was there; one that hangs is ended with all it started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vms.disks import build as disks
from vms.disks.build import RECIPES, build
from vms.disks.errors import BuildFailed

SCRIPTS = Path(disks.__file__).parent


@pytest.mark.parametrize("kind", list(RECIPES))
def test_a_missing_command_is_named_and_the_old_image_stays(
    kind: disks.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "basename", "readlink", "dpkg", "id", "env"):
        (tools / name).symlink_to(next(path for path in (Path("/usr/bin", name), Path("/bin", name)) if path.exists()))
    monkeypatch.setenv("PATH", str(tools))
    out = tmp_path / "image.qcow2"
    out.write_text("precious")

    with pytest.raises(BuildFailed, match=r"commands are missing:.* qemu-img"):
        build(kind, out, cache=tmp_path / "cache")

    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "cache", "image.qcow2"}


def test_a_build_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    script = tmp_path / "hangs.sh"
    script.write_text(
        f"#!/bin/sh\ntrap 'kill $child; touch {tmp_path}/cleaned; exit 1' TERM\nsleep 600 & child=$!\nwait\n"
    )
    script.chmod(0o755)

    with pytest.raises(BuildFailed, match="longer than 1 s"):
        disks._run(script, tmp_path / "out", tmp_path, timeout_s=1)

    assert (tmp_path / "cleaned").exists()


def test_no_script_names_a_mirror() -> None:
    """Packages come from the machine's own sources, whatever they are."""
    for path in SCRIPTS.rglob("*"):
        if path.suffix in (".sh", ".cfg", "") and path.is_file():
            assert not re.search(r"(https?|ftp)://", path.read_text()), path

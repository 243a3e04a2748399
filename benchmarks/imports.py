"""An image's way into the catalogue (inspect, convert in the sandbox, flush, checksum) beside ``qemu-img convert``.

    .venv/bin/python -m benchmarks.imports [--gib 2] [--rounds 5] [--place DIRECTORY]

Makes three images in PLACE, of so many GiB of this machine's programs: raw, qcow2 and compressed qcow2. Each round takes
each of them every way in turn, from a warm page cache; a checksum is known of what was fetched, which is taken as bytes come.
Needs no database. Prints a table in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from launcher.installation import new_secrets, write_private

MIB: Final = 2**20
FORMATS: Final = {"raw": "raw", "qcow2": "qcow2", "qcow2, compressed": "qcow2"}


def main() -> None:
    """Make, convert in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.place) as name:
        work = Path(name)
        state = work / "state"
        state.mkdir()
        write_private(state / "secrets.json", new_secrets())
        os.environ |= {"DJANGO_SETTINGS_MODULE": "portal.settings.embedded", "GUESTHOUSE_STATE": str(state)}
        compare(sources(work, given.gib), work, given.rounds)


def sources(work: Path, gib: int) -> dict[str, Path]:
    """The images to import, by name."""
    made = {name: work / name.replace(", ", "-") for name in FORMATS}
    files = (path for path in sorted(Path("/usr").rglob("*")) if path.is_file() and not path.is_symlink())
    with made["raw"].open("wb") as disk:
        while disk.tell() < gib * 1024 * MIB:
            disk.write(next(files).read_bytes())
            disk.seek(-disk.tell() % 4096, os.SEEK_CUR)
        disk.truncate(gib * 1024 * MIB)
    for name, options in (("qcow2", []), ("qcow2, compressed", ["-c"])):
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options]
        subprocess.run([*convert, made["raw"], made[name]], check=True)
    return made


def compare(images: dict[str, Path], work: Path, rounds: int) -> None:
    """Both ways in turn, and the table."""
    import django

    django.setup()
    from vms.models import Image
    from vms.services.catalogue import catalogue_place, image_path

    print("| source | MiB | way | median s | least s | of import's median | of its least |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, source in images.items():
        source.read_bytes()
        image, target = Image(name="bench"), work / "bare"
        convert = ["qemu-img", "convert", "-f", FORMATS[name], "-O", "qcow2", str(source), str(target)]
        ways: dict[str, Callable[[], object]] = {
            "import": partial(catalogue_place, source, image, declared=FORMATS[name]),  # type: ignore[arg-type]
            "import, checksum known": partial(catalogue_place, source, image, declared=FORMATS[name], sha256="0" * 64),  # type: ignore[arg-type]
            "convert, then flush": partial(run, convert, ["sync", str(target)]),
            "convert alone": partial(run, convert),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _round in range(rounds):
            for way, do in ways.items():
                run(["sync", "-f", str(work)])
                began = time.perf_counter()
                do()
                seconds[way].append(time.perf_counter() - began)
                for made in (image_path(image), target):
                    made.unlink(missing_ok=True)
        for way, took in seconds.items():
            middle, least = statistics.median(took), min(took)
            ours = seconds["import"]
            print(
                f"| {name} | {source.stat().st_size / MIB:.0f} | {way} | {middle:.2f} | {least:.2f} "
                f"| {middle / statistics.median(ours):.2f} | {least / min(ours):.2f} |",
                flush=True,
            )


def run(*commands: list[str]) -> None:
    """One after the other; each ends well or we do not."""
    for command in commands:
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

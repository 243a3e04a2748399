"""What containers need before their processes start: secrets, a first certificate, a migrated and seeded database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from launcher.installation import ROOT, new_secrets, write_once

PORTAL_USER = 10000


def main() -> int:
    """Prepare the volumes and the database; safe to repeat. Ends with the exit code of ``manage.py setup``."""
    state = Path(os.environ["GUESTHOUSE_STATE"])
    write_once(Path(os.environ["GUESTHOUSE_SECRET_FILE"]), new_secrets())
    make_certificate(Path("/etc/guesthouse-tls"))
    setup = (sys.executable, str(ROOT / "manage.py"), "setup", "--first-run", str(state / "first-run.json"))
    done = subprocess.run(setup, check=False)
    for path in (state, *state.rglob("*")):
        os.chown(path, PORTAL_USER, PORTAL_USER)
    return done.returncode


def make_certificate(folder: Path) -> None:
    """A self-signed pair, so that the proxy starts; replace both files with real ones."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    if certificate.exists():
        return
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "365")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))
    subprocess.run(["openssl", "req", "-x509", *new_key, *subject, "-out", str(certificate)], check=True)


if __name__ == "__main__":
    sys.exit(main())

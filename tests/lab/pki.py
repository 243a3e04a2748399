"""A throw-away certificate authority: one certificate a host, one for the controller.

The file names are those that libvirtd, libvirt's client and QEMU look for, so one directory serves all of them: remote
connections over TLS, migration, VNC and NBD.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

_DAYS = "30"


def make_authority(pki: Path) -> None:
    """Make the authority's key and certificate; does nothing where they are."""
    if (pki / "ca-cert.pem").exists():
        return
    pki.mkdir(parents=True, exist_ok=True)
    _key(pki / "ca-key.pem")
    _openssl(
        "req", "-x509", "-new", "-key", pki / "ca-key.pem", "-days", _DAYS, "-subj", "/O=lab/CN=lab authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", pki / "ca-cert.pem",
    )  # fmt: skip


def make_host(pki: Path, target: Path, *, name: str, address: str) -> None:
    """A server certificate for ``name`` and ``address`` in ``target``, usable as a client's too (for migration)."""
    target.mkdir(parents=True, exist_ok=True)
    _sign(
        pki, target / "server-key.pem", target / "server-cert.pem", name,
        usage="serverAuth,clientAuth", names=f"DNS:{name},IP:{address},DNS:localhost,IP:127.0.0.1",
    )  # fmt: skip
    for kind in ("key", "cert"):
        shutil.copy(target / f"server-{kind}.pem", target / f"client-{kind}.pem")  # QEMU's name
        shutil.copy(target / f"server-{kind}.pem", target / f"client{kind}.pem")  # libvirt's name
    shutil.copy(pki / "ca-cert.pem", target / "ca-cert.pem")
    shutil.copy(pki / "ca-cert.pem", target / "cacert.pem")


def make_client(pki: Path, target: Path, *, name: str) -> None:
    """A client certificate as ``?pkipath=`` of a libvirt URI expects it."""
    target.mkdir(parents=True, exist_ok=True)
    _sign(pki, target / "clientkey.pem", target / "clientcert.pem", name, usage="clientAuth", names=f"DNS:{name}")
    shutil.copy(pki / "ca-cert.pem", target / "cacert.pem")


def _sign(pki: Path, key: Path, certificate: Path, name: str, *, usage: str, names: str) -> None:
    _key(key)
    request = _openssl("req", "-new", "-key", key, "-subj", f"/O=lab/CN={name}")
    # libvirt's own check wants keyEncipherment, with elliptic keys too.
    extensions = certificate.with_suffix(".ext")
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
        f"extendedKeyUsage={usage}\nsubjectAltName={names}\n"
    )
    _openssl(
        "x509", "-req", "-days", _DAYS, "-CA", pki / "ca-cert.pem", "-CAkey", pki / "ca-key.pem",
        "-set_serial", f"0x{secrets.token_hex(8)}", "-extfile", extensions, "-out", certificate, stdin=request,
    )  # fmt: skip
    extensions.unlink()


def _key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    path.chmod(0o640)


def _openssl(*args: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        ["openssl", *map(str, args)], input=stdin, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.strip()}")
    return done.stdout

"""The NoCloud seed: a small CD labelled ``cidata`` that tells a new guest its name, its keys and its owner's wishes.

What the portal says goes into meta-data and vendor-data; the owner's user-data stands beside it, byte for byte, and has
the last word in the guest. So nothing of theirs is ever merged into a document of ours.
Source: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Any

import yaml

from vms.texts import UnsafeText, safe_text

VOLUME_ID = "cidata"
USER_DATA_MAX_BYTES = 64 * 1024
SSH_KEYS_MAX = 64
SSH_KEY_MAX_BYTES = 16 * 1024
SSH_KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
USER_DATA_HEADERS = (
    "#cloud-config",
    "#!",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "## template: jinja",
    "Content-Type: multipart/",
    "MIME-Version:",
)
"""How user-data may begin; cloud-init ignores anything else in silence."""
WINDOWS_HEADERS = ("#ps1", "rem cmd")
"""How it may begin besides, where cloudbase-init reads it: a script of PowerShell or of cmd."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_CRYPT = re.compile(r"\$(y|6|5|2b)\$[./A-Za-z0-9$,=]{8,200}", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_HOSTNAME_MAX = 253


class InvalidSeed(ValueError):
    """A value that no seed is made of; ``field`` and ``code`` name it for the form, the message never quotes it."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One network card by its MAC: DHCP, or a fixed ``address`` (``10.0.0.5/24``) with gateway and nameservers."""

    mac: str
    address: str = ""
    gateway: str = ""
    nameservers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What a guest is told at its first boot.

    ``instance_id`` new makes the guest run its first boot again. ``password_hash`` is crypt(3)'s, for the image's
    default user; ``ssh_password`` lets it in over ssh too. Without ``cards`` every card asks DHCP. cloudbase-init reads the
    same disc (``NoCloudConfigDriveService``); it knows no hash and wants no cards.
    """

    instance_id: str
    hostname: str
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = ""
    ssh_password: bool = False
    user_data: str = ""
    for_windows: bool = False
    cards: tuple[Card, ...] = ()


def seed_files(seed: Seed) -> dict[str, bytes]:
    """The files of the seed by name. Raises ``InvalidSeed``."""
    meta = {
        "instance-id": _checked(_INSTANCE, seed.instance_id, "instance_id"),
        "local-hostname": check_hostname(seed.hostname),
        "public-keys": check_ssh_keys(seed.ssh_keys),
    }
    files = {
        "meta-data": _dump(meta),
        "user-data": (check_user_data(seed.user_data, for_windows=seed.for_windows) or "#cloud-config\n{}\n").encode(),
    }
    if seed.password_hash:
        password = _checked(_CRYPT, seed.password_hash, "password_hash")
        vendor = {"password": password, "chpasswd": {"expire": False}, "ssh_pwauth": seed.ssh_password}
        files["vendor-data"] = b"#cloud-config\n" + _dump(vendor)
    if seed.cards:
        cards = {f"nic{number}": _card(card) for number, card in enumerate(seed.cards)}
        files["network-config"] = _dump({"version": 2, "ethernets": cards})
    return files


def check_hostname(name: str) -> str:
    """A lower-case host name of RFC 1123, perhaps with a domain."""
    if len(name) > _HOSTNAME_MAX or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidSeed("hostname", "invalid", "A host name has lower-case letters, digits and hyphens.")
    return name


def check_ssh_keys(keys: tuple[str, ...]) -> list[str]:
    """The keys in canonical form, each once, in order."""
    if len(keys) > SSH_KEYS_MAX:
        raise InvalidSeed("ssh_keys", "too_many", f"At most {SSH_KEYS_MAX} keys.")
    return list(dict.fromkeys(check_ssh_key(key) for key in keys))


def check_ssh_key(key: str) -> str:
    """One public key as ``type base64 comment``; options (``command=``), line breaks and unknown types are refused."""
    if len(key) > SSH_KEY_MAX_BYTES:
        raise InvalidSeed("ssh_keys", "too_long", f"A public key has at most {SSH_KEY_MAX_BYTES} characters.")
    try:
        parts = safe_text(key.strip(), where="key").split(" ", 2) if len(key) <= 4096 else _long_key(key)
    except UnsafeText as error:
        raise InvalidSeed("ssh_keys", "invalid", "A public key is one line of text.") from error
    if len(parts) < 2 or parts[0] not in SSH_KEY_TYPES:
        raise InvalidSeed("ssh_keys", "unknown_type", "A public key starts with its type, such as ssh-ed25519.")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidSeed("ssh_keys", "invalid", "The key is not readable: was it cut when copied?") from error
    fields = _ssh_strings(blob)
    if len(fields) < 2 or fields[0] != parts[0].encode():
        raise InvalidSeed("ssh_keys", "invalid", "The key is not readable: was it cut when copied?")
    return " ".join(part for part in (parts[0], parts[1], *(each.strip() for each in parts[2:])) if part)


def check_user_data(text: str, *, for_windows: bool = False) -> str:
    """User-data as it came, after looking that cloud-init (or cloudbase-init) will understand it; empty stays empty."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidSeed("user_data", "invalid", "User-data is text in UTF-8.") from error
    if size > USER_DATA_MAX_BYTES:
        raise InvalidSeed("user_data", "too_long", f"User-data has at most {USER_DATA_MAX_BYTES} bytes.")
    if not text.strip():
        return ""
    if _UNPRINTABLE.search(text):
        raise InvalidSeed("user_data", "invalid", "User-data holds control characters.")
    if not text.startswith(USER_DATA_HEADERS + (WINDOWS_HEADERS if for_windows else ())):
        raise InvalidSeed("user_data", "unknown_type", "User-data starts with #cloud-config, #! or a MIME header.")
    if text.startswith("#cloud-config") and not text.startswith("#cloud-config-archive"):
        _check_cloud_config(text)
    return text


def _check_cloud_config(text: str) -> None:
    try:
        parsed = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark is not None else ""
        raise InvalidSeed("user_data", "invalid_yaml", f"The cloud-config is not valid YAML{where}.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidSeed("user_data", "invalid_yaml", "The cloud-config is not valid YAML.") from error
    if parsed is not None and not isinstance(parsed, dict):
        raise InvalidSeed("user_data", "invalid_yaml", "A cloud-config is a mapping of names to values.")


def _long_key(key: str) -> list[str]:
    """RSA keys of 16,384 bits outgrow a host's longest text; they never reach one."""
    if not key.strip().isprintable():
        raise UnsafeText("key holds a control character")
    return key.strip().split(" ", 2)


def _ssh_strings(blob: bytes) -> list[bytes]:
    """The length-prefixed strings a key is made of; empty where it is cut (RFC 4251, section 5)."""
    found, at = [], 0
    while at < len(blob):
        if at + 4 > len(blob):
            return []
        (length,) = struct.unpack_from(">I", blob, at)
        if at + 4 + length > len(blob):
            return []
        found.append(blob[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _card(card: Card) -> dict[str, Any]:
    match = {"match": {"macaddress": _checked(_MAC, card.mac, "mac")}}
    if not card.address:
        return match | {"dhcp4": True}
    try:
        fixed: dict[str, Any] = {"addresses": [str(ipaddress.ip_interface(card.address))]}
        if card.gateway:
            fixed["routes"] = [{"to": "default", "via": str(ipaddress.ip_address(card.gateway))}]
        if card.nameservers:
            fixed["nameservers"] = {"addresses": [str(ipaddress.ip_address(each)) for each in card.nameservers]}
    except ValueError as error:
        raise InvalidSeed("cards", "invalid", "A card's address is not valid.") from error
    return match | fixed


def _checked(pattern: re.Pattern[str], value: str, field: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidSeed(field, "invalid", f"The {field.replace('_', ' ')} is not valid.")
    return value


def _dump(document: dict[str, Any]) -> bytes:
    """YAML that reads back as exactly ``document``."""
    text = yaml.safe_dump(document, sort_keys=True, allow_unicode=True, width=1_000_000)
    if yaml.safe_load(text) != document:
        raise InvalidSeed("seed", "invalid", "The seed does not read back as it was written.")
    return text.encode()

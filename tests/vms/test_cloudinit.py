"""The seed says what it was told, byte for byte the same each time, and nothing a text smuggles in (incidents P-D2)."""

from __future__ import annotations

import io
from dataclasses import replace

import pycdlib
import pytest
import time_machine
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.cloudinit import (
    USER_DATA_MAX_BYTES,
    Card,
    InvalidSeed,
    Seed,
    check_hostname,
    check_ssh_key,
    check_ssh_keys,
    check_user_data,
    seed_files,
)
from vms.disks.seed import seed_iso

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
SEED = Seed(
    instance_id="i-0198a3c2",
    hostname="web-1.acme.internal",
    ssh_keys=(f"{KEY} me at home",),
    password_hash="$6$saltsalt$abcdefghijklmnopqrstuvwxyz./",
    user_data="#cloud-config\nruncmd:\n- [touch, /here]\n",
    cards=(
        Card(mac="52:54:00:00:00:01"),
        Card(mac="52:54:00:00:00:02", address="10.0.0.5/24", gateway="10.0.0.1", nameservers=("10.0.0.1",)),
    ),
)


def read_back(image: bytes) -> dict[str, bytes]:
    """The files of an image by their Joliet names, as an operating system sees them."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    files = {}
    for child in iso.list_children(joliet_path="/"):
        name = child.file_identifier().decode("utf-16-be")
        if child.is_file():
            target = io.BytesIO()
            iso.get_file_from_iso_fp(target, joliet_path=f"/{name}")
            files[name] = target.getvalue()
    iso.close()
    return files


def test_the_image_holds_the_files_of_the_seed():
    image = seed_iso(SEED)

    assert image[32808:32814] == b"cidata"
    assert read_back(image) == seed_files(SEED)


def test_equal_seeds_give_equal_bytes_whenever_they_are_made():
    with time_machine.travel("2026-01-01T00:00:00Z"):
        new_year = seed_iso(SEED)
    with time_machine.travel("2027-07-13T11:22:33+05:00"):
        summer = seed_iso(SEED)

    assert new_year == summer
    assert seed_iso(replace(SEED, hostname="web-2")) != summer


def test_the_portal_speaks_beside_the_owners_words():
    files = seed_files(SEED)

    assert files["user-data"].decode() == SEED.user_data
    meta = yaml.safe_load(files["meta-data"])
    assert meta == {
        "instance-id": "i-0198a3c2",
        "local-hostname": "web-1.acme.internal",
        "public-keys": [f"{KEY} me at home"],
    }
    assert files["vendor-data"].startswith(b"#cloud-config\n")
    vendor = yaml.safe_load(files["vendor-data"])
    assert vendor == {"password": SEED.password_hash, "chpasswd": {"expire": False}, "ssh_pwauth": False}
    cards = yaml.safe_load(files["network-config"])["ethernets"]
    assert cards["nic0"] == {"match": {"macaddress": "52:54:00:00:00:01"}, "dhcp4": True}
    assert cards["nic1"]["addresses"] == ["10.0.0.5/24"]


def test_a_bare_seed_has_what_cloud_init_needs_and_no_more():
    assert set(seed_files(Seed(instance_id="i-1", hostname="a"))) == {"meta-data", "user-data"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x\nruncmd: [touch /pwn]",
        "-a",
        "a-",
        "a..b",
        "A",
        "a_b",
        "é",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "a b",
        "a.",
    ],
)
def test_a_host_name_that_is_none_is_refused(name: str):
    with pytest.raises(InvalidSeed) as refusal:
        seed_files(replace(SEED, hostname=name))

    assert refusal.value.field == "hostname"


@settings(deadline=None)
@given(name=st.text(max_size=40))
def test_whatever_passes_as_a_host_name_is_one(name: str):
    try:
        check_hostname(name)
    except InvalidSeed:
        return
    assert name.isascii()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        f'command="rm -rf /" {KEY}',
        f"{KEY}\nssh-ed25519 AAAA",
        f"{KEY} a\nruncmd: [x]",
        f"{KEY} a\rb",
        f"{KEY} a\x00b",
        f"{KEY} a\u2028b",
        KEY.replace("ssh-ed25519 ", "ssh-dss "),
        KEY.replace("ssh-ed25519 ", "ssh-rsa "),
        KEY[:-4],
        KEY + "!!!!",
        "ssh-ed25519 " + "A" * (3 * 1024 * 1024),
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
    ids=lambda key: ascii(key[:40]),
)
def test_a_key_that_is_none_is_refused(key: str):
    with pytest.raises(InvalidSeed):
        check_ssh_key(key)


def test_keys_are_kept_once_each_and_trimmed():
    assert check_ssh_keys((f"  {KEY}   me  ", f"{KEY} me", KEY)) == [f"{KEY} me", KEY]


def test_too_many_keys_are_refused():
    with pytest.raises(InvalidSeed):
        check_ssh_keys(tuple(f"{KEY} {number}" for number in range(65)))


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-config\n- a\n- b\n",
        "#cloud-config\na: [\n",
        "#cloud-config\na: !!python/object/apply:os.system [id]\n",
        "#cloud-config\n" + "[" * 20_000,
        "hello",
        "\x1f\x8b\x08",
        "#!/bin/sh\n\x00",
        "#!/bin/sh\n\ud800",
        "#cloud-config\n#" + "é" * (USER_DATA_MAX_BYTES // 2),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_user_data_that_no_guest_understands_is_refused(text: str):
    with pytest.raises(InvalidSeed) as refusal:
        check_user_data(text)

    assert refusal.value.field == "user_data"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#cloud-config\n",
        "#cloud-config\npackages: [vim]\n",
        "#!/bin/sh\necho 'hello'\n",
        "#include\nhttp://example.test/x\n",
        'Content-Type: multipart/mixed; boundary="x"\n\n--x--\n',
        "## template: jinja\n#cloud-config\nhostname: {{ v1.name }}\n",
    ],
)
def test_user_data_goes_in_as_it_came(text: str):
    assert check_user_data(text) == text


@pytest.mark.parametrize(
    "change",
    [
        {"password_hash": "secret"},
        {"password_hash": '$6$a"\nb$cccccccc'},
        {"instance_id": "a\nb"},
        {"instance_id": ""},
        {"cards": (Card(mac="52:54:00:00:00:01\n"),)},
        {"cards": (Card(mac="52:54:00:00:00:01", address="10.0.0.300/24"),)},
    ],
    ids=str,
)
def test_nothing_else_smuggles_lines_in(change: dict[str, str]):
    with pytest.raises(InvalidSeed):
        seed_iso(replace(SEED, **change))


@pytest.mark.parametrize("text", ["#ps1_sysnative\nGet-Date\n", "rem cmd\r\ndir\r\n"])
def test_scripts_of_windows_are_taken_where_something_reads_them(text: str):
    assert check_user_data(text, for_windows=True) == text
    with pytest.raises(InvalidSeed):
        check_user_data(text)

"""A download goes where the public internet is and nowhere else, and keeps nothing that was not promised."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lab import pki
from tests.vms.disks.internet import FILE, PUBLIC, Internet, internet
from vms.disks.errors import DiskError, FetchFailed, FetchRefused
from vms.disks.fetch import Fetched, fetch, fetch_text

SUM = hashlib.sha256(FILE).hexdigest()

INTERNAL = [
    "127.0.0.1", "127.1", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "2130706433", "127.0.0.1.", "0", "0.0.0.0",
    "localhost", "LOCALHOST", "localhost.", "printer.local", "metadata.google.internal",
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0xa9fea9fe", "2852039166", "100.64.0.1", "198.18.0.1",
    "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:7f00:1]",
    "[::ffff:8.8.8.8]", "[2002:7f00:1::1]", "[64:ff9b::7f00:1]", "[64:ff9b::8.8.8.8]", "[64:ff9b:1::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fc00::1]",
    "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "１２７.0.0.1", "①②⑦.0.0.1",
]  # fmt: skip

MISLEADING = [
    f"http://{PUBLIC}@127.0.0.1/file", f"http://{PUBLIC}:80@127.0.0.1/file", f"http://127.0.0.1#@{PUBLIC}/file",
    f"http://127.0.0.1\\@{PUBLIC}/file", f"http://{PUBLIC}\\@127.0.0.1/file", f"http://user:word@{PUBLIC}/file",
    f"http://127.0.0.1\t@{PUBLIC}/file", f"http://{PUBLIC}/\r\nHost: x", f"http://{PUBLIC}/ file", f" http://{PUBLIC}/file",
    "file:///etc/passwd", "gopher://127.0.0.1:80/_GET", "ftp://127.0.0.1/", "dict://127.0.0.1:80/", "data:,x", "jar:http://x!/",
    "//127.0.0.1/file", "http:/127.0.0.1/file", "http:///127.0.0.1/file", "http://", "", "127.0.0.1", "javascript:1",
    f"http://{PUBLIC}:0/file", f"http://{PUBLIC}:99999/file", f"http://{PUBLIC}:80:80/file", "http://[::1/file",
    "http://[127.0.0.1]/file", f"http://{PUBLIC}/{'x' * 3000}",
]  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pki")
    pki.make_authority(place)
    pki.make_host(place, place / "server", name="mirror.test", address=PUBLIC)
    return place


@pytest.fixture(scope="module")
def net(certificates: Path) -> Iterator[Internet]:
    with internet(certificate=certificates / "server") as net:
        yield net


@pytest.fixture
def world(net: Internet) -> Internet:
    net.asked.clear()
    return net


def get(world: Internet, url: str, into: Path, **changes: object) -> Fetched:
    """Fetch in the world, with what most tests want."""
    wanted: dict[str, object] = {"checksum": SUM, "max_bytes": 1_000_000, "deadline_s": 20} | changes
    return world.run(lambda: fetch(url, into=into, **wanted))  # type: ignore[arg-type]


def refusal(world: Internet, url: str, tmp_path: Path, **changes: object) -> DiskError:
    """Why it was refused; nothing may be left behind."""
    with pytest.raises(DiskError) as refused:
        get(world, url, tmp_path / "image", **changes)
    assert list(tmp_path.iterdir()) == []
    return refused.value


def test_a_file_with_the_right_checksum_is_kept(world: Internet, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []

    fetched = get(world, f"http://{PUBLIC}/file", tmp_path / "image", progress=lambda *step: steps.append(step))

    assert fetched == Fetched(tmp_path / "image", len(FILE), SUM, f"http://{PUBLIC}/file")
    assert (tmp_path / "image").read_bytes() == FILE
    assert (tmp_path / "image").stat().st_mode & 0o777 == 0o600
    assert steps[-1] == (len(FILE), len(FILE))
    assert world.asked == [PUBLIC]


def test_a_longer_checksum_is_as_good(world: Internet, tmp_path: Path) -> None:
    longer = hashlib.sha512(FILE).hexdigest()

    assert get(world, f"http://{PUBLIC}/file", tmp_path / "image", checksum=longer.upper()).checksum == longer


def test_text_is_read_within_the_same_limits(world: Internet) -> None:
    def text(url: str, most: int) -> str:
        return world.run(lambda: fetch_text(url, max_bytes=most, deadline_s=20))

    assert len(text(f"http://{PUBLIC}/file", 400_000)) > 100_000
    for url, most in (
        (f"http://{PUBLIC}/file", 1000),
        (f"http://{PUBLIC}/absent", 1000),
        ("http://10.0.0.1/file", 400_000),
        ("file:///etc/passwd", 400_000),
    ):
        with pytest.raises(DiskError):
            text(url, most)


@pytest.mark.parametrize("host", INTERNAL)
def test_internal_addresses_are_never_asked(world: Internet, tmp_path: Path, host: str) -> None:
    """P-E1: however an address is written, and wherever it is carried to, nobody inside hears of us."""
    refused = refusal(world, f"http://{host}/file", tmp_path)

    assert isinstance(refused, FetchRefused)
    assert world.asked == []


@pytest.mark.parametrize("url", MISLEADING)
def test_misleading_addresses_are_refused(world: Internet, tmp_path: Path, url: str) -> None:
    """P-E1: what two parsers read in two ways is read by none."""
    refused = refusal(world, url, tmp_path)

    assert isinstance(refused, FetchRefused)
    assert world.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/file", "http://169.254.169.254/file", "http://[::1]/file", "file:///etc/passwd",
               "//10.0.0.1/file", "http://localhost/file", "https://127.0.0.1/file", "http://x@8.8.8.8/file", ""]
)  # fmt: skip
def test_redirects_are_checked_like_first_addresses(world: Internet, tmp_path: Path, status: int, target: str) -> None:
    """P-E1: a public server that sends us inside (the import redirect that was not re-checked)."""
    refused = refusal(world, f"http://{PUBLIC}/to/{status}?u={quote(target, safe='')}", tmp_path)

    assert isinstance(refused, FetchRefused) or target == ""
    assert set(world.asked) == {PUBLIC}
    assert len(world.asked) <= 7


def test_an_internal_address_at_the_end_of_a_chain_is_refused(world: Internet, tmp_path: Path) -> None:
    last = f"http://{PUBLIC}/to?u={quote('http://127.0.0.1/file', safe='')}"
    first = f"http://{PUBLIC}/to?u={quote(last, safe='')}"

    assert refusal(world, first, tmp_path).code == "url_private"
    assert world.asked == [PUBLIC, PUBLIC]


@pytest.mark.parametrize("hops", range(1, 11))
def test_five_redirects_are_followed_and_no_more(world: Internet, tmp_path: Path, hops: int) -> None:
    """P-E1: chains of 1 to 10."""
    if hops <= 5:
        assert get(world, f"http://{PUBLIC}/hop/{hops}", tmp_path / "image").size == len(FILE)
    else:
        assert refusal(world, f"http://{PUBLIC}/hop/{hops}", tmp_path).code == "url_redirects"


def test_the_name_is_resolved_once_and_the_checked_address_used(
    world: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-E1: a name that is public when it is checked and internal a moment later."""
    answers = iter([PUBLIC, "127.0.0.1", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"rebind.test": lambda: [next(answers)]}))

    assert get(world, "http://rebind.test/file", tmp_path / "image").checksum == SUM
    assert world.asked == [PUBLIC]


def test_a_name_with_one_internal_address_is_refused(
    world: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"mixed.test": lambda: [PUBLIC, "10.0.0.1"]}))

    assert refusal(world, "http://mixed.test/file", tmp_path).code == "url_private"
    assert world.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "[::1]", "[fc00::1]", "localhost"])
def test_operators_may_allow_private_mirrors(world: Internet, tmp_path: Path, host: str) -> None:
    assert get(world, f"http://{host}/file", tmp_path / "image", allow_private=True).checksum == SUM


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1%25lo]", "0.0.0.0", "[::ffff:127.0.0.1]"]
)
def test_nobody_may_allow_the_metadata_service(world: Internet, tmp_path: Path, host: str) -> None:
    assert isinstance(refusal(world, f"http://{host}/file", tmp_path, allow_private=True), FetchRefused)
    assert world.asked == []


def test_https_trusts_only_who_can_prove_it(world: Internet, tmp_path: Path, certificates: Path) -> None:
    assert refusal(world, f"https://{PUBLIC}/file", tmp_path).code == "download_failed"

    fetched = get(world, f"https://{PUBLIC}/file", tmp_path / "image", ca_file=certificates / "ca-cert.pem")

    assert fetched.checksum == SUM


def test_https_is_not_given_up_on_the_way(world: Internet, tmp_path: Path, certificates: Path) -> None:
    url = f"https://{PUBLIC}/to?u={quote(f'http://{PUBLIC}/file', safe='')}"

    assert refusal(world, url, tmp_path, ca_file=certificates / "ca-cert.pem").code == "url_downgrade"


@pytest.mark.parametrize(
    ("path", "changes", "code"),
    [
        pytest.param("file", {"checksum": "0" * 64}, "checksum_mismatch", id="another file"),
        pytest.param("file", {"checksum": "md5"}, "checksum_invalid", id="no checksum"),
        pytest.param("file", {"max_bytes": len(FILE) - 1}, "download_too_large", id="stated too large"),
        pytest.param("endless", {}, "download_too_large", id="larger than stated"),
        pytest.param("cut", {}, "download_cut", id="cut short"),
        pytest.param("zipped", {}, "download_encoding", id="compressed on the way"),
        pytest.param("drip", {"deadline_s": 1}, "download_timeout", id="a byte now and then"),
        pytest.param("dripping-head", {"deadline_s": 1}, "download_timeout", id="a header without end"),
        pytest.param("silent", {"silence_s": 0.5}, "download_timeout", id="silence"),
        pytest.param("nothing", {}, "download_status", id="not there"),
    ],
)
def test_bodies_are_bounded(world: Internet, tmp_path: Path, path: str, changes: dict[str, object], code: str) -> None:
    """P-E3: bytes, time and encodings; nothing is left."""
    assert refusal(world, f"http://{PUBLIC}/{path}", tmp_path, **changes).code == code


def test_an_existing_file_survives_a_failed_download(world: Internet, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_text("precious")

    with pytest.raises(FetchFailed):
        get(world, f"http://{PUBLIC}/file", image, checksum="0" * 64)

    assert image.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_progress_can_cancel(world: Internet, tmp_path: Path) -> None:
    """P-B8: a cancelled import leaves no byte."""

    class Cancelled(Exception):
        pass

    def cancel(done: int, _total: int | None) -> None:
        if done > 100_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        get(world, f"http://{PUBLIC}/endless", tmp_path / "image", progress=cancel)

    assert list(tmp_path.iterdir()) == []


def resolver(names: dict[str, object]) -> object:
    """The system's resolver, with some names of our own."""
    real = socket.getaddrinfo

    def answer(host: str, port: int, *rest: object, **options: object) -> object:
        if host not in names:
            return real(host, port, *rest, **options)  # type: ignore[arg-type]
        found = names[host]()  # type: ignore[operator]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    return answer

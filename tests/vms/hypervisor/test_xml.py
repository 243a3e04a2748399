"""What we write is what the golden files show, what libvirt's schemas accept, and nothing a text can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.vms.hypervisor.shapes import DOMAINS, EMULATED, FIRST, NAT, ROOT, ROOTS, SHAPES, TAG, TENANTS, Shape
from vms.hypervisor.allowlist import NotAllowed, check_domain
from vms.hypervisor.driver import Owner
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.paths import is_below
from vms.hypervisor.xml.build import Element, UnsafeText, node, to_xml
from vms.hypervisor.xml.domain import Bandwidth, DomainSpec, FilterRef, Nic, Serial, Vnc
from vms.hypervisor.xml.parse import BadXml, domain_details, network_details, network_shape, root_of, tag_of

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = Path("/usr/share/libvirt/schemas")


@cache
def schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMAS / f"{name}.rng"))


def assert_valid(name: str, element: Element) -> None:
    rules = schema(name)
    assert rules.validate(etree.fromstring(to_xml(element))), rules.error_log


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_is_written_as_its_golden_file_shows(shape: Shape, update_golden: bool):
    path = GOLDEN / f"{shape.name}.xml"
    if update_golden:
        path.write_text(to_xml(shape.element))

    assert to_xml(shape.element) == path.read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.xml")} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_libvirts_own_schema_accepts_every_shape(shape: Shape):
    assert_valid(shape.schema, shape.element)


# --- text -----------------------------------------------------------------------------------------------------------

NASTY = (
    "]]>",
    "</name><devices><disk type='block'/></devices>",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;",
    "&amp;&lt;",
    "\ufffe",
    "\ud800",
    "\x00",
    "line\nbreak",
    "a" * 65536,
    "\u202e",
    "' onload='",
)


def with_text(place: str, text: str) -> DomainSpec:
    """The tenant's machine with ``text`` in one of its string fields."""
    nic, serial, vnc = TENANTS.nics[0], TENANTS.serial, TENANTS.vnc
    assert serial is not None
    assert vnc is not None
    changes: dict[str, Callable[[], DomainSpec]] = {
        "name": lambda: replace(TENANTS, name=text),
        "uuid": lambda: replace(TENANTS, uuid=text),
        "title": lambda: replace(TENANTS, title=text),
        "machine": lambda: replace(TENANTS, machine=text),
        "installation": lambda: replace(TENANTS, tag=replace(TAG, owner=Owner(text, 1))),
        "subject": lambda: replace(TENANTS, tag=replace(TAG, subject=text)),
        "tenant": lambda: replace(TENANTS, tag=replace(TAG, tenant=text)),
        "cpu model": lambda: replace(EMULATED, cpu=replace(EMULATED.cpu, model=text)),
        "disk path": lambda: replace(TENANTS, disks=(replace(ROOT, path=text),)),
        "disk path below": lambda: replace(TENANTS, disks=(replace(ROOT, path="/srv/gh/pool/" + text),)),
        "disk serial": lambda: replace(TENANTS, disks=(replace(ROOT, serial=text),)),
        "mac": lambda: replace(TENANTS, nics=(replace(nic, mac=text),)),
        "network": lambda: replace(TENANTS, nics=(replace(nic, network=text),)),
        "filter": lambda: replace(TENANTS, nics=(replace(nic, filter=FilterRef(name=text, ip="10.0.0.1")),)),
        "address": lambda: replace(TENANTS, nics=(replace(nic, filter=FilterRef(name="f", ip=text)),)),
        "vnc socket": lambda: replace(TENANTS, vnc=replace(vnc, socket=text)),
        "vnc password": lambda: replace(TENANTS, vnc=replace(vnc, password=text)),
        "serial socket": lambda: replace(TENANTS, serial=replace(serial, socket="/run/gh/" + text)),
        "serial log": lambda: replace(TENANTS, serial=replace(serial, log="/srv/gh/log/" + text)),
    }
    return changes[place]()


PLACES = (
    "name", "uuid", "title", "machine", "installation", "subject", "tenant", "cpu model", "disk path",
    "disk path below", "disk serial", "mac", "network", "filter", "address", "vnc socket", "vnc password",
    "serial socket", "serial log",
)  # fmt: skip


def skeleton(element: Element) -> list[tuple[str, tuple[str, ...]]]:
    """The tags and attribute names of a document: what no text may ever change."""
    return [(str(each.tag), tuple(sorted(map(str, each.attrib)))) for each in element.iter()]


@pytest.mark.parametrize("place", PLACES)
@settings(deadline=None)
@given(text=st.one_of(st.sampled_from(NASTY), st.text(max_size=80)))
def test_no_text_in_any_field_changes_the_shape_of_a_domain(place: str, text: str):
    try:
        spec = with_text(place, text)
        element = spec.element()
        check_domain(element, roots=ROOTS)
    except ValueError:
        return

    again = root_of(to_xml(element))
    assert skeleton(again) == skeleton(element)
    assert_valid("domain", element)
    check_domain(again, roots=ROOTS)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("place", [place for place in PLACES if place != "title"])
def test_nothing_nasty_passes_where_names_and_paths_stand(place: str, text: str):
    harmless_in_a_file_name = "path below", "serial socket", "serial log"
    try:
        check_domain(with_text(place, text).element(), roots=ROOTS)
    except ValueError:
        return
    assert place.endswith(harmless_in_a_file_name), f"{place} took {text!a}"


@settings(deadline=None)
@example(title="]]></title>")
@given(title=st.text(max_size=60))
def test_a_title_comes_back_as_it_went_in_or_is_refused(title: str):
    try:
        xml = replace(TENANTS, title=title).xml()
    except UnsafeText:
        return

    assert root_of(xml).findtext("title", "") == title


def test_a_definition_has_at_most_64_kib():
    nics = tuple(Nic(mac="52:54:00:00:00:01", network="n" * 90) for _ in range(400))

    with pytest.raises(NotAllowed, match="longer"):
        check_domain(replace(TENANTS, nics=nics).element(), roots=ROOTS)


# --- the allow-list -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOMAINS)
def test_the_allow_list_passes_what_we_write(name: str):
    check_domain(DOMAINS[name].element(), roots=ROOTS)


def _append(path: str, child: Element) -> Callable[[Element], None]:
    return lambda root: found(root, path).append(child)


def _set(path: str, name: str, value: str) -> Callable[[Element], None]:
    return lambda root: found(root, path).set(name, value)


def found(root: Element, path: str) -> Element:
    element = root if path == "." else root.find(path)
    assert element is not None, path
    return element


BREACHES: dict[str, Callable[[Element], None]] = {
    "a host device": _append("devices", node("hostdev", {"mode": "subsystem", "type": "pci"})),
    "a host folder": _append("devices", node("filesystem", {"type": "mount"})),
    "QEMU's own command line": _append(".", node("{http://libvirt.org/schemas/domain/qemu/1.0}commandline")),
    "another emulator": _append("devices", node("emulator", None, "/tmp/evil")),
    "a kernel from the host": _append("os", node("kernel", None, "/boot/vmlinuz")),
    "a loader": _append("os", node("loader", None, "/srv/gh/pool/x")),
    "a second source": _append("devices/disk", node("source", {"file": "/srv/gh/pool/b"})),
    "a block device": _set("devices/disk", "type", "block"),
    "a device as source": _set("devices/disk/source", "dev", "/dev/sda"),
    "a file elsewhere": _set("devices/disk/source", "file", "/etc/shadow"),
    "a file above": _set("devices/disk/source", "file", "/srv/gh/pool/../../../etc/shadow"),
    "a double slash": _set("devices/disk/source", "file", "/srv/gh/pool//x"),
    "a foreign volume group": lambda root: (
        found(root, "devices/disk").set("type", "block"),
        found(root, "devices/disk/source").attrib.clear(),
        found(root, "devices/disk/source").set("dev", "/dev/sda1/x"),
    ),
    "a foreign cluster": lambda root: (
        found(root, "devices/disk").set("type", "network"),
        found(root, "devices/disk/source").attrib.clear(),
        found(root, "devices/disk/source").set("protocol", "rbd"),
        found(root, "devices/disk/source").set("name", "theirs/vol-1"),
    ),
    "a disk over the network": lambda root: (
        found(root, "devices/disk").set("type", "network"),
        found(root, "devices/disk/source").attrib.clear(),
        found(root, "devices/disk/source").set("protocol", "nbd"),
    ),
    "a sibling folder": _set("devices/disk/source", "file", "/srv/gh/pool2/x"),
    "the pool itself": _set("devices/disk/source", "file", "/srv/gh/pool"),
    "a base elsewhere": _set("devices/disk/backingStore/source", "file", "/etc/shadow"),
    "a socket elsewhere": _set("devices/graphics/listen", "socket", "/run/libvirt/libvirt-sock"),
    "a screen on the network": _set("devices/graphics/listen", "type", "address"),
    "a port for the screen": _set("devices/graphics", "port", "5900"),
    "a log elsewhere": _set("devices/serial/log", "file", "/etc/cron.d/x"),
    "a serial line that connects": _set("devices/serial/source", "mode", "connect"),
    "a bridge of the host": _set("devices/interface", "type", "bridge"),
    "a multicast card": _set("devices/interface/mac", "address", "53:54:00:00:00:01"),
    "a script": _append("devices/interface", node("script", {"path": "/tmp/x"})),
    "another security label": _append(".", node("seclabel", {"type": "none"})),
    "shared memory": _append("memoryBacking", node("source", {"type": "file"})),
    "entropy from elsewhere": lambda root: setattr(found(root, "devices/rng/backend"), "text", "/dev/sda"),
    "stray text": lambda root: setattr(found(root, "devices"), "text", "hello"),
    "a tail": lambda root: setattr(found(root, "devices/disk"), "tail", "hello"),
    "a comment": lambda root: found(root, "devices").append(etree.Comment("x")),
    "an instruction": lambda root: found(root, "devices").append(etree.ProcessingInstruction("x", "y")),
    "somebody else's metadata": _append("metadata", node("{urn:x}y")),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_the_allow_list_refuses_whatever_we_never_write(breach: str):
    root = root_of(TENANTS.xml())
    check_domain(root, roots=ROOTS)

    BREACHES[breach](root)

    with pytest.raises(NotAllowed):
        check_domain(root, roots=ROOTS)


def test_the_root_folder_is_no_pool():
    assert not is_below("/etc/shadow", ("/",))
    assert not is_below("/etc/shadow", ("", "relative"))
    assert is_below("/srv/pool/a", ("/srv/pool/",))


# --- reading --------------------------------------------------------------------------------------------------------


def test_what_we_write_on_a_domain_reads_back():
    details = domain_details(TENANTS.xml())

    assert details.tag == TAG
    assert (details.uuid, details.name) == (TENANTS.uuid, TENANTS.name)
    assert (details.vnc_socket, details.serial_socket) == ("/run/gh/a.vnc", "/run/gh/a.serial")


@pytest.mark.parametrize(
    "metadata",
    [
        "<metadata/>",
        "<metadata><owner xmlns='urn:other' installation='a' epoch='1'/></metadata>",
        "<metadata><owner xmlns='urn:guesthouse:owner:1' installation='a' epoch='x' generation='1'/></metadata>",
        "<metadata><owner xmlns='urn:guesthouse:owner:1' installation='a'/></metadata>",
    ],
)
def test_metadata_that_is_not_as_we_write_it_makes_nothing_ours(metadata: str):
    assert tag_of(root_of(f"<domain>{metadata}</domain>")) is None


def test_what_we_write_on_a_network_reads_back():
    details = network_details(NAT.xml())

    assert details.tag == TAG
    assert details.bridge == NAT.bridge
    assert FIRST in details.hosts
    assert details.shape == network_shape(NAT.element())
    assert details.shape != network_shape(replace(NAT, prefix=25).element())
    assert details.shape == network_shape(replace(NAT, hosts=()).element())


@pytest.mark.parametrize(
    "xml",
    [
        "<a>",
        "",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><a>&b;</a>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1/x'><a/>",
    ],
)
def test_xml_with_a_document_type_or_without_form_is_refused(xml: str):
    with pytest.raises(BadXml):
        root_of(xml)


# --- small rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kbit", "kib"), [(8192, "1000"), (100_000, "12207"), (1, "1"), (8, "1")])
def test_bandwidth_is_counted_in_kib(kbit: int, kib: str):
    inbound = Bandwidth(inbound_kbit=kbit).element().find("inbound")

    assert inbound is not None
    assert inbound.get("average") == kib


def test_the_translation_cache_is_only_said_of_emulated_machines():
    cached = replace(TENANTS, tb_cache_mib=32)

    assert cached.element().find("features/tcg") is None
    assert replace(cached, kind="qemu").element().find("features/tcg") is not None


@pytest.mark.parametrize("password", ["", "123456789", "pässword"])
def test_a_vnc_password_that_the_protocol_would_cut_is_refused(password: str):
    with pytest.raises(ValueError, match="ASCII characters"):
        Vnc(socket="/run/gh/x", password=password)


def test_a_vnc_socket_that_libvirt_would_drop_is_refused():
    with pytest.raises(ValueError, match="drops"):
        Vnc(socket="/var/lib/libvirt/qemu/x.vnc", password="a")


def test_serial_lines_are_logged():
    assert Serial(socket="/s", log="/l").element().find("log") is not None


@pytest.mark.parametrize("wrong", ["300.0.0.1", "fe80::1", "10.0.0.0/33", "x"])
def test_a_filter_over_what_is_no_address_is_refused(wrong: str):
    with pytest.raises(ValueError, match=r"(?i)address|octet|netmask|not permitted"):
        guest_filter(name="f", subnet="10.0.0.0/24", gateway="10.0.0.1", forbidden=[wrong])

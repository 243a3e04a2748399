"""Request → domain running, click → answer, and libvirt event → browser; beside a bare define and start on the same libvirtd.

    .venv/bin/python -m benchmarks.create --state STATE [--rounds 15] [--image NAME] [--flavor tiny]

STATE is that of a running portal (``bin/up``). Rounds alternate: a machine by REST, then the same machine by libvirt alone: the
same XML under another name, over an overlay on the same base. "Running" is the moment libvirt says STARTED to a listener of this
process. Both are removed before the next round. A neighbour that never runs comes first: it carries the image to the host, and
keeps the tenant's network up for both. The start of QEMU, which is the same for both, scatters most on a busy machine: so what
comes before it, until libvirt says DEFINED, is printed too. Prints a table in Markdown; ``benchmarks/README.md`` keeps results.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree
from websockets.asyncio.client import connect


@dataclass
class Portal:
    """A running portal, by the owner's token and by a browser's session."""

    url: str
    token: str
    slug: str
    email: str
    password: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One REST call; the parsed answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.loads(answer.read() or b"null")

    def make(self, **spec: Any) -> Any:
        """Create a machine and wait until it is as asked; the operation."""
        body = {"name": f"bench-{uuid.uuid4().hex[:8]}", **spec}
        return self.wait(self.ask("POST", f"/tenants/{self.slug}/guests", body))

    def purge(self, pk: str) -> None:
        """Remove a machine for good."""
        self.wait(self.ask("DELETE", f"/tenants/{self.slug}/guests/{pk}?purge=true"))

    def wait(self, operation: Any) -> Any:
        """The operation once it has ended."""
        return self.ask("GET", f"/tenants/{self.slug}/operations/{operation['id']}?wait=60")

    def cookies(self) -> str:
        """Sign in as a browser does; the Cookie header."""
        jar = CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = browser.open(f"{self.url}/account/login/").read().decode()
        csrf = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": csrf, "login": self.email, "password": self.password})
        browser.open(f"{self.url}/account/login/", form.encode())
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


@dataclass
class Times:
    """Seconds, one entry a round."""

    portal: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    portal_defined: list[float] = field(default_factory=list)
    bare_defined: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    event: list[float] = field(default_factory=list)


class Listener:
    """When libvirt said that a domain started or was pulled, by uuid."""

    def __init__(self, uri: str) -> None:
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=self._loop, daemon=True).start()
        self.raw = libvirt.open(uri)
        self.at: dict[tuple[str, int], float] = {}
        self.news = threading.Condition()
        self.raw.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._hear, None)

    def _loop(self) -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    def _hear(self, _conn: Any, domain: Any, event: int, _detail: int, _opaque: Any) -> None:
        with self.news:
            self.at[domain.UUIDString(), event] = time.perf_counter()
            self.news.notify_all()

    def when(self, pk: str, event: int = libvirt.VIR_DOMAIN_EVENT_STARTED) -> float:
        """The moment of that event; waits up to a minute for it."""
        with self.news:
            if not self.news.wait_for(lambda: (pk, event) in self.at, timeout=60):
                raise TimeoutError(f"{pk} had no event {event}")
            return self.at[pk, event]


def one_bare(listener: Listener, xml: str) -> tuple[float, float]:
    """The same machine without a portal: overlay, define, start; removed again. Seconds from nothing to DEFINED and STARTED."""
    root = etree.fromstring(xml)
    name = f"bare-{uuid.uuid4().hex[:8]}"
    root.find("name").text, root.find("uuid").text = name, str(uuid.uuid4())
    for gone in root.findall("metadata"):
        root.remove(gone)
    disk = root.find("devices/disk/source")
    old = Path(disk.get("file"))
    base = root.find("devices/disk/backingStore/source").get("file")
    disk.set("file", str(old.with_name(f"{name}.qcow2")))
    for source in [*root.findall("devices/serial/source"), *root.findall("devices/graphics/listen")]:
        for key in ("path", "socket"):
            if source.get(key):
                source.set(key, str(Path(source.get(key)).with_name(name + "." + key[0])))
    for graphics in root.findall("devices/graphics"):
        graphics.attrib.pop("socket", None)
    for log in root.findall("devices/serial/log"):
        log.set("file", str(old.with_name(f"{name}.log")))
    for parent in root.findall("devices/*"):
        for alias in parent.findall("alias"):
            parent.remove(alias)
    text = etree.tostring(root).decode()
    pool = listener.raw.storagePoolLookupByTargetPath(str(old.parent))
    capacity = pool.storageVolLookupByName(old.name).info()[1]
    volume_xml = (
        f"<volume><name>{name}.qcow2</name><capacity>{capacity}</capacity><target><format type='qcow2'/></target>"
        f"<backingStore><path>{base}</path><format type='qcow2'/></backingStore></volume>"
    )
    began = time.perf_counter()
    volume = pool.createXML(volume_xml)
    domain = listener.raw.defineXML(text)
    domain.create()
    defined = listener.when(domain.UUIDString(), libvirt.VIR_DOMAIN_EVENT_DEFINED) - began
    took = listener.when(domain.UUIDString()) - began
    domain.destroy()
    domain.undefine()
    volume.delete()
    return defined, took


async def rounds(portal: Portal, listener: Listener, number: int, image_name: str, flavor: str) -> Times:
    """Alternate, and listen on the WebSocket all the while."""
    times = Times()
    images = portal.ask("GET", f"/tenants/{portal.slug}/images")["items"]
    image = next(image["id"] for image in images if image["name"] == image_name or not image_name)
    neighbour = portal.make(image=image, flavor=flavor, start=False)["subject"]["id"]
    origin = portal.url
    address = portal.url.replace("http", "ws", 1) + f"/ws/t/{portal.slug}/events"
    heard: dict[str, list[float]] = {}
    async with connect(address, origin=origin, additional_headers={"Cookie": portal.cookies()}) as socket:  # type: ignore[arg-type]

        async def hear() -> None:
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "guest.changed":
                    heard.setdefault(event["resource"]["id"], []).append(time.perf_counter())

        ears = asyncio.create_task(hear())
        for turn in range(number):
            body = {"name": f"bench-{uuid.uuid4().hex[:8]}", "flavor": flavor, "image": image}
            began = time.perf_counter()
            operation = await asyncio.to_thread(portal.ask, "POST", f"/tenants/{portal.slug}/guests", body)
            times.answer.append(time.perf_counter() - began)
            pk = operation["subject"]["id"]
            times.portal.append(await asyncio.to_thread(listener.when, pk) - began)
            times.portal_defined.append(listener.when(pk, libvirt.VIR_DOMAIN_EVENT_DEFINED) - began)
            await asyncio.to_thread(portal.wait, operation)
            domain = listener.raw.lookupByUUIDString(pk)
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
            domain.destroy()
            stopped = await asyncio.to_thread(listener.when, pk, libvirt.VIR_DOMAIN_EVENT_STOPPED)
            await asyncio.sleep(1)
            times.event.append(min(at for at in heard[pk] if at > stopped) - stopped)
            defined, took = await asyncio.to_thread(one_bare, listener, xml)
            times.bare_defined.append(defined)
            times.bare.append(took)
            await asyncio.to_thread(portal.purge, pk)
            print(f"round {turn + 1}: {times.portal[-1]:.3f} s, bare {times.bare[-1]:.3f} s", flush=True)
        ears.cancel()
    portal.purge(neighbour)
    return times


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--image", default="", help="its name; the first one where none is given")
    parser.add_argument("--flavor", default="tiny")
    given = parser.parse_args()
    first = json.loads((given.state / "first-run.json").read_text())
    uri = json.loads((given.state / "options.json").read_text())["libvirt_uri"]
    owner = first["tenant"]["owner"]
    portal = Portal(first["url"], owner["token"], first["tenant"]["slug"], owner["email"], owner["password"])
    times = asyncio.run(rounds(portal, Listener(uri), given.rounds, given.image, given.flavor))
    rows = {
        "request → running, portal": times.portal,
        "request → running, bare": times.bare,
        "difference, round by round": [a - b for a, b in zip(times.portal, times.bare, strict=True)],
        "difference until defined": [a - b for a, b in zip(times.portal_defined, times.bare_defined, strict=True)],
        "click → answer": times.answer,
        "libvirt event → WebSocket": times.event,
    }
    print("\n| what | median ms | best ms | worst ms |\n| --- | --- | --- | --- |")
    for what, seconds in rows.items():
        figures = [statistics.median(seconds), min(seconds), max(seconds)]
        print(f"| {what} | " + " | ".join(f"{1000 * figure:.0f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()

"""The operators' page of well-known images."""

from __future__ import annotations

from django.contrib.admin.models import LogEntry
from django.test import Client

from operations.models import Operation
from tenants.scoping import every_tenant
from vms.models import Image

PAGE = "/operator/catalogue/"


def test_it_shows_what_there_is_and_a_click_asks_for_it(desk: Client) -> None:
    shown = desk.get(PAGE).content.decode()
    assert "Debian 12" in shown
    assert "cloud.debian.org" in shown
    assert "evalcenter" in shown

    answer = desk.post(PAGE, {"key": "debian-12"}, follow=True)

    asked = Operation.objects.get(kind="image.import").params
    assert asked["sums"].endswith("/SHA512SUMS")
    assert asked["file"] == "debian-12-genericcloud-amd64.qcow2"
    assert "Debian 12 is coming in." in answer.content.decode()
    assert LogEntry.objects.latest("pk").change_message == "Catalogue: Debian 12 is coming in."
    again = desk.post(PAGE, {"key": "debian-12"}, follow=True)
    assert "on its way already" in again.content.decode()
    with every_tenant(why="test"):
        assert Image.objects.get().origin == "debian-12"


def test_what_is_not_fetched_by_us_is_not_there(desk: Client) -> None:
    for key in ("windows-server-2022", "", "absent"):
        assert desk.post(PAGE, {"key": key}).status_code == 404

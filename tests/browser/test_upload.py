"""A browser uploads an image over a connection that breaks; another one goes on, when the file is chosen again."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from tests.browser.visitor import NARROW, visitor
from tests.journeys.customer import Customer
from tests.setup.test_up import Portal

SIZE = 8 * 1024**2


def test_an_upload_goes_on_after_a_lost_connection_and_in_another_browser(
    chromium: Browser, portal: Portal, customer: Customer, tmp_path: Path, pictures: Path | None
) -> None:
    file = tmp_path / "my disk.raw"
    file.write_bytes(b"\x5a" * SIZE)
    (tmp_path / "other.raw").write_bytes(b"other")
    first, pieces = portal.first_run, []

    def shaky(route: Route) -> None:
        """The second piece is lost on its way, and everything from the fourth on."""
        pieces.append(route.request.method)
        lost = route.request.method == "PUT" and pieces.count("PUT") in (2, 4, 5, 6)
        route.abort("connectionfailed") if lost else route.continue_()

    with visitor(chromium, first["url"], size=NARROW, theme="light", pictures=pictures) as owner:
        owner.sign_in(first["tenant"]["owner"])
        page = owner.page
        owner.go("/t/demo/images/add/")
        page.route(re.compile(r"/images/uploads/[0-9a-f-]+/$"), shaky)
        page.locator("#upload-file").set_input_files(file)
        form = page.locator("form[data-upload]")
        form.get_by_label("Name").fill("from-browser")
        form.get_by_label("Format").select_option("raw")
        form.get_by_role("button", name="Upload").click()
        expect(form.locator("[data-upload-words]")).to_have_text(re.compile("connection is gone"))
        owner.picture("upload-waits")
        while pieces.count("PUT") < 5:
            page.wait_for_event("requestfailed")

    with visitor(chromium, first["url"], size=NARROW, theme="light", pictures=pictures) as owner:
        owner.sign_in(first["tenant"]["owner"])
        page = owner.page
        owner.go("/t/demo/images/add/")
        rest = page.locator("[data-upload-resume]")
        rest.locator("[data-upload-file]").set_input_files(tmp_path / "other.raw")
        expect(rest.locator("[data-upload-words]")).to_have_text(re.compile("another file"))
        rest.locator("[data-upload-file]").set_input_files(file)
        page.wait_for_url(re.compile(r"/images/[0-9a-f-]+/$"))
        expect(page.locator("#facts")).to_contain_text("Ready")
        owner.picture("upload-done")
        assert owner.faults() == []

    (image,) = [one for one in customer.get("/images").json()["items"] if one["name"] == "from-browser"]
    assert image["virtual_size"] == SIZE
    customer.done(customer.delete(f"/images/{image['id']}"))

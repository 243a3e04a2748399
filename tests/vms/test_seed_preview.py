"""What a new machine would be told, and what in its user-data looks like a slip."""

from __future__ import annotations

import pytest

from tests import factories
from tests.architecture.test_pages import browser
from tests.portal.api.rest import Rest
from vms.cloudinit import InvalidSeed, check_user_data
from vms.seed_preview import user_data_advice


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", []),
        ("#!/bin/sh\ntrue\n", []),
        ("#! sh\n", ["Line 1: #! is followed by the path of a program."]),
        ("#cloud-config\npackages: [htop]\nruncmd:\n - true\n", []),
        (
            "#cloud-config\nruncmd: []\npacakges: [htop]\n",
            ["Line 3: nothing reads pacakges. Is packages meant?"],
        ),
        ("#cloud-config\nzzzzqq: 1\n", ["Line 2: nothing in cloud-init reads zzzzqq."]),
        (
            "#cloud-config please\npackages: []\n",
            ["Line 1: cloud-init looks for exactly #cloud-config, and ignores the rest otherwise."],
        ),
        (
            "#cloud-config\nusers:\n  - name: a\n    plain_text_passwd: open\n",
            ["A password stands in it as it is: whoever reads the machine's user-data inside it reads it."],
        ),
        ("#cloud-config\n", []),
        ("#cloud-config-archive\n- text: x\n", []),
    ],
)
def test_slips_are_named_with_their_line(text: str, advice: list[str]) -> None:
    assert user_data_advice(check_user_data(text)) == advice


def test_what_is_no_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidSeed, match=r"not valid YAML \(line 3\)"):
        check_user_data("#cloud-config\nruncmd:\n\t- true\n")


@pytest.mark.django_db
def test_a_dry_run_and_the_recap_show_what_the_machine_is_told_and_no_password() -> None:
    factories.host_up()
    house = factories.tenant_with_owner()
    image, flavor = factories.image("tiny"), factories.flavor("tiny")
    key = factories.public_key()
    wish = {"name": "web", "flavor": "tiny", "image": str(image.pk), "user_data": "#cloud-config\nruncdm: []\n"}

    said = Rest(house.token).post(
        f"{house.url}/guests?dry_run=true", {**wish, "password": "correct horse", "ssh_keys": [key]}
    )

    assert said.status == 200, said
    told = said.json["told"]
    assert set(told) == {"meta-data", "user-data", "vendor-data"}
    assert told["user-data"] == wish["user_data"]
    assert "local-hostname: web" in told["meta-data"]
    assert key in told["meta-data"]
    assert "correct horse" not in str(said.json)
    assert said.json["advice"] == ["Line 2: nothing reads runcdm. Is runcmd meant?"]

    sent = {**wish, "flavor": flavor.pk, "count": "1", "password": "correct horse"}
    page = browser(house.owner).post(f"/t/{house.tenant.slug}/machines/create/recap/", sent).content.decode()
    assert "Is runcmd meant?" in page
    assert "local-hostname: web" in page
    assert "correct horse" not in page

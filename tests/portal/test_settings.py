"""What the environment says becomes settings that Django understands."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.mail import mailers

from portal.settings.env import smtp


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("smtp://localhost", ("localhost", 25, "", "", False, False)),
        ("smtp+tls://me%40x:s%2Fw@mail.test:587", ("mail.test", 587, "me@x", "s/w", True, False)),
        ("smtp+ssl://me:secret@mail.test:465", ("mail.test", 465, "me", "secret", False, True)),
    ],
    ids=["plain", "STARTTLS", "TLS"],
)
def test_an_address_says_how_mail_is_sent(url: str, wanted: tuple[object, ...], settings: Any) -> None:
    settings.MAILERS = {"default": smtp(url)}

    mailer = mailers["default"]

    found = (mailer.host, mailer.port, mailer.username, mailer.password, mailer.use_tls, mailer.use_ssl)
    assert tuple(value or type(hoped)() for value, hoped in zip(found, wanted, strict=True)) == wanted
    assert mailer.timeout == 10

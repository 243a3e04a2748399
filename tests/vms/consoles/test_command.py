"""``manage.py console_proxy`` reads the settings and becomes the lean process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from redis import Redis

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import browse, make_grant
from tests.vms.consoles.peers import Display, ProxyProcess, Stream
from vms.consoles import registry, tickets
from vms.management.commands import console_proxy


def test_the_settings_reach_the_console_process(settings: Any) -> None:
    settings.PUBLIC_URL, settings.CONSOLE_BIND = "https://Portal.Example/", "127.0.0.1:8001"
    settings.REDIS_URL, settings.RUN_DIR = "redis://:geheim@redis/0", Path("/run/x")
    settings.TRUSTED_PROXIES = 2

    config = console_proxy.config()

    assert config.origins == ("https://portal.example",)
    assert (config.bind, config.redis_url, config.run_dir) == ("127.0.0.1:8001", "redis://:geheim@redis/0", "/run/x")
    assert config.proxies == 2
    assert type(config).from_json(config.to_json()) == config


def test_the_command_serves_consoles(private_redis: str, redis: Redis, folder: Path, display: Display) -> None:
    """P-A13: the redis address stands on no command line."""
    log = folder / "log"
    words = {
        "REDIS_URL": private_redis,
        "GUESTHOUSE_CONSOLE_BIND": "127.0.0.1:0",
        "GUESTHOUSE_PUBLIC_URL": "http://127.0.0.1:8000",
        "GUESTHOUSE_RUN_DIR": str(folder),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "manage.py", "console_proxy"],
            env=os.environ | words, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        proxy = ProxyProcess(process, log)
        wait_until(lambda: registry.is_alive(redis), timeout_s=5, what="the proxy's heartbeat")
        ticket = tickets.issue(redis, make_grant(target=display.path))
        with browse(tickets.address(f"ws://127.0.0.1:{proxy.port}/console/ws", ticket)) as connection:
            assert Stream(connection).shake_hands() == (64, 48)
        assert private_redis not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()

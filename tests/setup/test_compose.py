"""docker-compose.yml says what bin/up does, in containers: the same processes, the same environment, real commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from launcher.installation import ROOT, Installation, Options, new_secrets, write_private
from launcher.processes import programs

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service and "command" in service)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    write_private(tmp_path / "secrets.json", new_secrets())
    installation = Installation(tmp_path)
    installation.options = Options(console_port=8001)
    return installation


def test_every_process_of_the_portal_is_a_service(installation: Installation) -> None:
    assert {program.name for program in programs(installation)} <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    match SERVICES[name]["command"]:
        case ["python", "manage.py", command, *_]:
            assert command in get_commands()
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module)
        case ["uvicorn", application, *_]:
            assert importlib.util.find_spec(application.partition(":")[0])
        case other:
            pytest.fail(f"nobody knows whether {other} exists")


def test_processes_get_the_environment_that_bin_up_gives_them(installation: Installation) -> None:
    given = {
        name for name in installation.environment(inherited={}) if name not in ("PYTHONUNBUFFERED", "MALLOC_ARENA_MAX")
    }

    for name in OURS:
        assert set(SERVICES[name]["environment"]) == given | {"EMAIL_URL", "GUESTHOUSE_LONG_AT_ONCE"}, name


def test_images_come_from_stages_that_exist_and_name_no_registry() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "docker" / "app.Dockerfile").read_text(), re.MULTILINE))

    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} <= stages
    assert [service["image"] for service in SERVICES.values() if "/" in service["image"]] == []


def test_named_volumes_and_dependencies_are_declared() -> None:
    for name, service in SERVICES.items():
        mounted = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {volume for volume in mounted if not volume.startswith(".")} <= set(COMPOSE["volumes"]), name
        assert all((ROOT / volume).exists() for volume in mounted if volume.startswith(".")), name
        assert set(service.get("depends_on", [])) <= set(SERVICES), name


def test_only_the_proxy_is_published() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


def test_the_hypervisor_starts_only_when_asked_for() -> None:
    assert [name for name, service in SERVICES.items() if service.get("profiles") == ["kvm"]] == ["libvirt", "enrol"]


def test_the_proxy_knows_both_kinds_of_websocket() -> None:
    configuration = (ROOT / "docker" / "nginx.conf").read_text()
    targets = dict(re.findall(r"location (\S+) \{[^}]*?proxy_pass (\S+);", configuration))

    assert targets == {"/": "$web", "/ws/": "$web", "/console": "$console"}
    assert dict(re.findall(r"set \$(web|console) +http://(\S+);", configuration)) == {
        "web": "web:8000", "console": "console:8001",
    }  # fmt: skip
    assert "proxy_set_header Upgrade" in configuration
    console = COMPOSE["x-environment"]["GUESTHOUSE_CONSOLE_URL"].rstrip("}")
    assert console.endswith("/console"), "the address that pages open, to which ?ticket= is added"

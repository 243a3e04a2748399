"""``bin/up``: set up one portal, start its processes, and either watch over them or leave them running."""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from launcher import doctor
from launcher.installation import ROOT, Installation, Options, Unusable
from launcher.processes import BIN, Supervisor, await_condition

READY_TIMEOUT_S = 300
HOST_TIMEOUT_S = 120
ASK_TIMEOUT_S = 5


class Stopped(Exception):
    """Somebody pressed Ctrl-C, or the system asked us to end."""


def main(arguments: Sequence[str]) -> int:
    given = parse(arguments)
    installation = Installation(given.state)
    supervisor = Supervisor(installation)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)  # SIGINT too: started from a script in the background, it comes ignored
    try:
        with installation.locked():
            if supervisor.is_running():
                return say_running(installation, wanted(installation, given))
            set_up(installation, supervisor, wanted(installation, given))
            problem = await_ready(installation, supervisor)
    except Unusable as reason:
        return give_up(supervisor, str(reason))
    except (KeyboardInterrupt, Stopped):
        return give_up(supervisor, "stopped before it was ready")
    if given.detach:
        return give_up(supervisor, problem) if problem else say_address(installation)
    if problem:
        complain(f"Not ready after {READY_TIMEOUT_S} s, still trying: {problem}")
    return watch_over(installation, supervisor)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/up", add_help=False)
    parser.add_argument("--state", type=Path, default=ROOT / "var")
    parser.add_argument("--port", type=int)
    parser.add_argument("--bind")
    parser.add_argument("--public-url")
    parser.add_argument("--libvirt-uri")
    parser.add_argument("--database-url")
    parser.add_argument("--redis-url")
    parser.add_argument("--run-root")
    parser.add_argument("--detach", action="store_true")
    return parser.parse_args(arguments)


def wanted(installation: Installation, given: argparse.Namespace) -> Options:
    """The remembered options with those of the command line over them."""
    return installation.options.changed(
        port=given.port, bind=given.bind, public_url=given.public_url, libvirt_uri=given.libvirt_uri,
        database_url=given.database_url, redis_url=given.redis_url,
        run_root=given.run_root,
    )  # fmt: skip


def set_up(installation: Installation, supervisor: Supervisor, options: Options) -> None:
    """From nothing, or from any earlier state, to running processes and one bootable image; every step is repeatable.

    Raises ``Unusable`` with the step that failed and what it said.
    """
    installation.prepare(options)
    for finding in doctor.examine(installation):
        complain(f"{'mended' if finding.mended else 'note'}: {finding.text}")
    supervisor.start()
    said = manage(
        installation, "setup", "--first-run", str(installation.first_run_file),
        "--libvirt-uri", installation.options.libvirt_uri, doing="Preparing database, pages and first host",
    )  # fmt: skip
    supervisor.start_all()
    if "image ready" not in said:
        manage(installation, "build_image", "tiny", doing="Building an image to boot")


def manage(installation: Installation, *command: str, doing: str) -> str:
    """Run one manage.py command against the installation and return what it printed.

    Raises ``Unusable`` with its last words if it fails.
    """
    complain(f"{doing} …")
    done = subprocess.run(
        [str(BIN / "python"), str(ROOT / "manage.py"), *command],
        env=installation.environment(), cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    with (installation.log_dir / "setup.log").open("a") as log:
        log.write(f"--- manage.py {' '.join(command)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        last_words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise Unusable(f"manage.py {command[0]} failed: {' '.join(last_words)} (all of it: {log.name})")
    return done.stdout


def await_ready(installation: Installation, supervisor: Supervisor) -> str:
    """Wait until ``/readyz`` answers 200; returns what is missing after ``READY_TIMEOUT_S``, or nothing.

    Then a host gets ``HOST_TIMEOUT_S`` to come up. Without one the portal is ready all the same, and it is said.
    """
    complain("Waiting until everything answers …")
    if not await_condition(lambda: not ask_ready(installation)[0], timeout_s=READY_TIMEOUT_S, interval_s=0.25):
        return "; ".join([ask_ready(installation)[0], *supervisor.troubles()])
    if not await_condition(lambda: ask_ready(installation)[1] > 0, timeout_s=HOST_TIMEOUT_S, interval_s=0.25):
        complain(f"note: No host is up after {HOST_TIMEOUT_S} s, so no guest can start; the hosts' page says why")
    return ""


def ask_ready(installation: Installation) -> tuple[str, int]:
    """Ask ``/readyz``, on loopback, whatever is public: what is missing (nothing at 200), and how many hosts are up."""
    options = installation.options
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.bind, options.bind)
    address = f"http://{f'[{host}]' if ':' in host else host}:{options.port}/readyz"
    public_host = installation.public_url.partition("://")[2]
    request = urllib.request.Request(address, headers={"Host": public_host, "Accept": "application/json"})
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=ASK_TIMEOUT_S) as answer:
            return "", int(json.load(answer)["parts"]["hosts"]["up"])
    except urllib.error.HTTPError as refusal:
        with refusal:
            return f"/readyz answers {refusal.code}: {parts(refusal.read())}", 0
    except (OSError, http.client.HTTPException) as error:
        return f"{address} does not answer ({error})", 0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is not an answer to whether we are ready."""

    def redirect_request(self, *_arguments: object, **_named: object) -> None:
        return None


def parts(body: bytes) -> str:
    """The parts of a 503 from ``/readyz`` as one line, or the beginning of whatever came instead."""
    try:
        return ", ".join(f"{part}: {json.dumps(value)}" for part, value in json.loads(body)["parts"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:200].decode(errors="replace")


def watch_over(installation: Installation, supervisor: Supervisor) -> int:
    """Stay until Ctrl-C, then stop everything in order; or until it is stopped from elsewhere, by ``bin/down``."""
    say_address(installation)
    print("Ctrl-C stops the portal; guests go on.", flush=True)
    try:
        while supervisor.is_running():
            time.sleep(1)
    except (KeyboardInterrupt, Stopped):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("\nStopping …", flush=True)
        supervisor.stop()
        print("The portal has stopped. Guests go on.", flush=True)
        return 0
    print("The portal was stopped from elsewhere.", flush=True)
    return 0


def say_running(installation: Installation, options: Options) -> int:
    print(f"Already running at {installation.public_url} (state {installation.state}).")
    if options != installation.options:
        complain("The options given differ from the running ones; bin/down first, then start with them.")
    return 0


def say_address(installation: Installation) -> int:
    """Print where the portal is and who can sign in first."""
    print(f"\nGuesthouse is ready at {installation.public_url}")
    try:
        first = json.loads(installation.first_run_file.read_text())
    except FileNotFoundError:
        return 0
    print(f"  customer  {first['tenant']['owner']['email']}  {first['tenant']['owner']['password']}")
    print(f"  operator  {first['operator']['email']}  {first['operator']['password']}")
    print(f"  (first sign-in, with API tokens, from {installation.first_run_file}; delete it once you changed them)\n")
    return 0


def give_up(supervisor: Supervisor, reason: str) -> int:
    """Stop what was started, say why, and answer the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    complain(f"bin/up: {reason}")
    try:
        supervisor.stop()
    except Unusable as leftover:
        complain(f"bin/up: {leftover}")
    return 1


def complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m portal.worker``: Celery's worker without its command line, whose shell takes 8 MiB in every process."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from portal.celery import app


def main() -> None:
    """Work until SIGTERM, then finish what was begun; ends with Celery's exit code."""
    parser = argparse.ArgumentParser(prog="portal.worker", description=__doc__)
    parser.add_argument("--concurrency", type=int, default=4, help="how many operations run at once")
    parser.add_argument("--hostname", help="the worker's name, with %%h for this machine's")
    given = parser.parse_args()
    os.environ["CELERY_SKIP_CHECKS"] = "1"  # they would load every page and form into processes that serve none
    worker = app.Worker(
        pool_cls="prefork",
        concurrency=given.concurrency,
        hostname=given.hostname,
        loglevel=logging.INFO,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()

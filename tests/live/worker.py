"""``python -m tests.live.worker``: the portal's worker, whose hosts are in the memory of the test that started it."""

from __future__ import annotations

import os
from typing import cast

from portal.worker import main
from tests.live.line import Line
from vms.hypervisor import pool
from vms.hypervisor.driver import Hypervisor

if __name__ == "__main__":
    exchange = os.environ["GUESTHOUSE_TEST_EXCHANGE"]
    pool.register("fake", lambda uri: cast(Hypervisor, Line(exchange, uri)))
    main()

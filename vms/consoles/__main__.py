"""``python -m vms.consoles``: read a ``Config`` as JSON from standard input, then serve.

Standard input and not arguments, because the redis URL may hold a password. ``manage.py console_proxy`` starts this.
"""

from __future__ import annotations

import sys

from portal.core.logs import configure
from vms.consoles.config import Config
from vms.consoles.proxy import run

configure(sys.stderr)
run(Config.from_json(sys.stdin.read()))

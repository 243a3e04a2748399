"""Somebody on a machine's network whom it calls once: ``python neighbour.py in|out IP PORT SIZE``.

``in``: sends ``SIZE`` bytes to whoever calls and waits until they are taken; ``out``: takes so many. Says ``listening``, then the
seconds between the call and the last byte.
"""

from __future__ import annotations

import socket
import sys
import time


def main(way: str, ip: str, port: int, size: int) -> None:
    with socket.create_server((ip, port)) as ear:
        print("listening", flush=True)
        line, _caller = ear.accept()
        began = time.monotonic()
        with line:
            if way == "in":
                line.sendall(bytes(size))
                line.shutdown(socket.SHUT_WR)
                while line.recv(65536):
                    continue
            else:
                left = size
                while left > 0 and (data := line.recv(65536)):
                    left -= len(data)
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

# SPDX-License-Identifier: Apache-2.0
"""Connects again and again to a banner_server and counts who stood in between. Standard library only.

Usage: captured.py ADDRESS PORT…   until SIGTERM; then prints {"proxied":…, "direct":…, "errors":[…], "error_count":…}.
The next connection begins when the last one has ended (a closed loop), so a gap of some milliseconds is met.
"""

import json
import signal
import socket
import sys
import threading

MAX_ERRORS = 10


def work(address, port, tally, lock, stop):
    while not stop.is_set():
        try:
            with socket.create_connection((address, port), timeout=10) as connection:
                with connection.makefile("rb") as stream:
                    seen = stream.readline().decode().strip()
                ours = "lab-ssh %s %d" % connection.getsockname()[:2]
            kind = "direct" if seen == ours else "proxied" if seen.startswith("lab-ssh ") else f"no greeting: {seen!r}"
        except OSError as error:
            kind = f"{type(error).__name__}: {error}"
        with lock:
            if kind in tally:
                tally[kind] += 1
            else:
                tally["error_count"] += 1
                tally["errors"] = [*tally["errors"], f"{address}: {kind}"][:MAX_ERRORS]


def main():
    port = int(sys.argv[-1])
    tally = {"proxied": 0, "direct": 0, "errors": [], "error_count": 0}
    lock, stop = threading.Lock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    arguments = [(address, port, tally, lock, stop) for address in sys.argv[1:-1]]
    threads = [threading.Thread(target=work, args=each, daemon=True) for each in arguments]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    while not stop.wait(60):
        pass
    for thread in threads:
        thread.join(12)
    with lock:
        print(json.dumps(tally), flush=True)


main()

# SPDX-License-Identifier: Apache-2.0
"""Many callers beside each other, each with a new connection and no second try. Standard library only.

Usage: callers.py [--rate N] [--timeout S] URL   until SIGTERM. Writes a line for each: when it began (monotonic), and 1
if it was answered, else 0.
"""

import argparse
import http.client
import sys
import threading
import time
import urllib.parse


def call(url, timeout):
    begin = time.monotonic()
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)
    try:
        connection.request("GET", url.path or "/", headers={"connection": "close"})
        good = connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        good = False
    finally:
        connection.close()
    sys.stdout.write(f"{begin:.3f} {int(good)}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--timeout", type=float, default=3)
    parser.add_argument("url", type=urllib.parse.urlsplit)
    args = parser.parse_args()
    while True:
        threading.Thread(target=call, args=(args.url, args.timeout), daemon=True).start()
        time.sleep(1 / args.rate)


main()

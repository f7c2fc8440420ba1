# SPDX-License-Identifier: Apache-2.0
"""Scrapes again and again and tells which of the proxy's counters went backwards. Standard library only.

Usage: counter_watch.py URL   until SIGTERM. Ten times a second; writes a JSON line for each scrape:
{"ok":…, "series":…, "backwards":["name{…}: 5 to 3", …], "rq":{"prefix": n, …}}; `rq` is downstream_rq_total.
"""

import json
import re
import signal
import sys
import time
import urllib.request

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?)[ \t]+(\S+)")
REQUESTS = re.compile(r'^envoy_http_downstream_rq_total\{.*http_conn_manager_prefix="([^"]*)"')


def scrape(url):
    """Counters and the parts of histograms; hawserd's own begin anew with it, as is usual."""
    with urllib.request.urlopen(url, timeout=2) as answer:
        text = answer.read().decode()
    counters, kind = {}, ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            kind = line.split()[3]
        elif kind in ("counter", "histogram") and not line.startswith(("#", "hawser_")):
            if found := SAMPLE.match(line):
                counters[found[1]] = float(found[2])
    return counters


def main():
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    highest = {}
    while True:
        last = bool(stopped)
        try:
            now = scrape(sys.argv[1])
        except OSError:
            now = {}
        backwards = [f"{key}: {highest[key]} to {value}" for key, value in now.items() if value < highest.get(key, 0)]
        highest.update({key: max(value, highest.get(key, 0)) for key, value in now.items()})
        requests = {found[1]: value for key, value in now.items() if (found := REQUESTS.match(key))}
        print(json.dumps({"ok": bool(now), "series": len(now), "backwards": backwards[:5], "rq": requests}), flush=True)
        if last:
            return
        time.sleep(0.1)


main()

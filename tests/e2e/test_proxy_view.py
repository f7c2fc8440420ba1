# SPDX-License-Identifier: Apache-2.0
"""What the operator sees of the proxy: counters that never go back, a history that lasts, and the commands."""

from __future__ import annotations

import contextlib
import json
import typing

import pytest

from lab import facts, layout, poll, services, steps

pytestmark = pytest.mark.incremental

LEAVES = 4  # seconds that a predecessor may stay
SETTINGS = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=2s", "proxy.start_timeout=5s")
FOLDER = "/var/lib/hawser/supervisor"
RATE = 200


def proxy(world) -> dict[str, typing.Any]:
    return world.vm.status()["proxy"]


def wait_for_live(world, other_than: int = 0) -> int:
    def live():
        seen = proxy(world)
        return seen["state"] == "LIVE" and seen["pid"] not in (0, other_than) and seen["pid"]

    return poll.until("a proxy is LIVE", live, 20)


class Scraper:
    """counter_watch.py in the VM."""

    def __init__(self, world) -> None:
        self.host = world.host
        self.log = world.host.log_dir / "counter-watch.log"
        self.process = world.host.popen(
            services.program("counter_watch", "http://127.0.0.1:15020/stats/prometheus"), log=self.log.name
        )

    def lines(self) -> list[dict[str, typing.Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def stop(self) -> list[dict[str, typing.Any]]:
        self.host.stop(self.process, timeout=10)
        return self.lines()


@contextlib.contextmanager
def scraper(world):
    """Asserts that nothing went back; yields what tells the outbound requests that were counted."""
    watch = Scraper(world)
    seen: list[dict[str, typing.Any]] = []
    try:
        yield seen
    finally:
        seen += watch.stop()
    told = [line for line in seen if line["ok"]]
    assert len(told) > 20, f"only {len(told)} of {len(seen)} scrapes had counters"
    back = [line["backwards"] for line in seen if line["backwards"]]
    assert not back, f"went back in {len(back)} of {len(seen)} scrapes: {back[:3]}"


def outbound(lines: list[dict[str, typing.Any]]) -> int:
    """By the connection managers of the outbound listeners, at the last scrape."""
    last = [line for line in lines if line["ok"]][-1]["rq"]
    return int(sum(count for prefix, count in last.items() if prefix.startswith("outbound")))


def outbound_now(world) -> int:
    with contextlib.closing(_Once(world)) as once:
        return outbound(once.lines())


class _Once:
    def __init__(self, world) -> None:
        self.watch = Scraper(world)
        poll.until("a scrape with counters", lambda: any(line["ok"] for line in self.watch.lines()), 10)

    def lines(self) -> list[dict[str, typing.Any]]:
        return self.watch.lines()

    def close(self) -> None:
        self.watch.stop()


def load(world) -> services.Load:
    return services.Load(world.host, "counted", f"http://{facts.REVIEWS_HOST}/counted", rate=RATE)


def test_joins(world):
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_counters_go_on_over_a_restart(world, record_property):
    before = outbound_now(world)
    with scraper(world) as seen:
        traffic = load(world)
        traffic.more(100)
        done = json.loads(world.vm.cli("proxy", "restart", "--json").stdout)
        traffic.more(100)
        poll.until("the predecessor has ended", lambda: proxy_count(world) == 1, LEAVES + 10)
        traffic.more(20)
        report = traffic.stop()
    assert report.failed == 0, report.describe_failures()
    counted = outbound(seen) - before
    print(f"{report.sent} requests sent, {counted} counted over a restart that took {done['took_ms']} ms")
    record_property("counted_too_much", counted - report.sent)
    # What is counted twice comes between a flush and the last reading; the statistics of what ends last lag by one.
    assert -5 <= counted - report.sent <= RATE // 5


def proxy_count(world) -> int:
    return len(world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} envoy || true"]).stdout.split())


def test_counters_go_on_when_the_proxy_is_killed(world):
    before = outbound_now(world)
    pid = proxy(world)["pid"]
    with scraper(world) as seen:
        traffic = load(world)
        traffic.more(50)
        world.host.run(["kill", "-9", str(pid)])
        wait_for_live(world, other_than=pid)
        poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
        traffic.more(50)
        report = traffic.stop()
    counted = outbound(seen) - before
    print(f"{report.sent} requests sent, {report.failed} of them failed, {counted} counted")
    # The crash takes along what was counted since the last of the scrapes, and the outage what was never seen.
    assert report.sent - report.failed - RATE // 2 <= counted <= report.sent


def test_counters_go_on_when_hawserd_is_killed(world):
    before = outbound_now(world)
    pid = proxy(world)["pid"]
    with scraper(world) as seen:
        traffic = load(world)
        traffic.more(50)
        world.vm.kill_agent()
        world.vm.start_agent()
        world.vm.wait("REGISTERED", timeout=20)
        traffic.more(50)
        report = traffic.stop()
    assert proxy(world)["pid"] == pid
    assert report.failed == 0, report.describe_failures()
    counted = outbound(seen) - before
    print(f"{report.sent} requests sent, {counted} counted")
    assert abs(counted - report.sent) <= 5

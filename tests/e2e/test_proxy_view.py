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
SETTINGS = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=2s", "proxy.start_timeout=20s")
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
        poll.until("it has looked often enough", lambda: sum(line["ok"] for line in watch.lines()) > 20, 20)
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


@pytest.mark.parametrize("how", ["hot-restart", "side-by-side", "planned-cold"])
def test_counters_go_on_over_a_restart(world, how, record_property):
    before = outbound_now(world)
    with scraper(world) as seen:
        traffic = load(world)
        traffic.more(100)
        done = json.loads(world.vm.cli("proxy", "restart", "--hand-over", how, "--json").stdout)
        poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
        traffic.more(100)
        poll.until("the predecessor has ended", lambda: proxy_count(world) == 1, LEAVES + 10)
        traffic.more(20)
        report = traffic.stop()
    counted = outbound(seen) - before
    print(f"{how}: {report.sent} sent, {report.failed} failed, {counted} counted, took {done['took_ms']} ms")
    record_property("counted_too_much", counted - report.sent)
    # Whether requests fail is asked elsewhere; those that were refused or cut off weren't counted, or maybe they were.
    # In a hot restart, what comes between a flush and the last reading is counted twice: on a busy machine more than
    # usual. Two loads run, over kept and over new connections. The others are read to their ends, but for what a planned
    # cold start's predecessor answers between its last reading and its end, which a busy machine puts apart.
    twice = 2 * RATE // 2 if how == "hot-restart" else 5
    lost = 2 * RATE // 4 if how == "planned-cold" else 5
    assert report.sent - report.failed - lost <= counted <= report.sent + twice


def proxy_count(world) -> int:
    return len(world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} envoy || true"]).stdout.split())


def test_counters_go_on_when_the_proxy_is_killed(world):
    before = outbound_now(world)
    pid = proxy(world)["pid"]
    with scraper(world) as seen:
        traffic = load(world)
        traffic.more(6 * RATE)
        world.host.run(["kill", "-9", str(pid)])
        wait_for_live(world, other_than=pid)
        poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
        traffic.more(50)
        report = traffic.stop()
    counted = outbound(seen) - before
    print(f"{report.sent} requests sent, {report.failed} of them failed, {counted} counted")
    # The crash takes along what was counted since the last of the scrapes, and the outage what was never seen.
    assert report.sent - report.failed - 2 * RATE <= counted <= report.sent


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


def test_status_tells_of_both_while_one_drains(world):
    done = json.loads(world.vm.cli("proxy", "restart", "--hand-over", "hot-restart", "--json").stdout)
    seen = json.loads(world.vm.cli("proxy", "status", "--json").stdout)
    text = world.vm.cli("proxy", "status").stdout
    serving, draining = seen["generations"]
    assert serving["generation"] == done["new"]["generation"] and serving["pid"] == done["new"]["pid"]
    assert (serving["role"], serving["state"], serving["came_by"]) == ("serving", "LIVE", "hot restart")
    assert serving["version"] == done["new"]["version"] and len(serving["binary_sha256"]) == 64
    assert serving["connections"] >= 0 and serving["memory"]["rss_bytes"] > 20 << 20, serving
    assert draining["generation"] == done["old"]["generation"] and draining["pid"] == done["old"]["pid"]
    assert draining["role"] == "draining" and 0 < draining["drain_left_ms"] <= LEAVES * 1000
    assert "connections" not in draining, "its admin interface has gone"
    assert seen["health"]["state"] == "ok"
    assert "draining" in text and "ends within" in text, text
    poll.until(
        "one is left",
        lambda: len(json.loads(world.vm.cli("proxy", "status", "--json").stdout)["generations"]) == 1,
        LEAVES + 10,
    )


def test_history_lasts_over_hawserd(world):
    before = json.loads(world.vm.cli("proxy", "history", "--json").stdout)["entries"]
    assert [entry["id"] for entry in before] == list(range(before[0]["id"], before[-1]["id"] + 1))
    live = [entry for entry in before if entry["name"] == "LIVE"]
    assert live and all(entry["pid"] > 0 and len(entry["binary_sha256"]) == 64 for entry in live), live
    assert any("SIGKILL" in entry["reason"] or "gone" in entry["reason"] for entry in before), before
    world.vm.kill_agent()
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=20)
    after = json.loads(world.vm.cli("proxy", "history", "--json").stdout)["entries"]
    kept = [entry for entry in after if entry["id"] <= before[-1]["id"]]
    assert kept and kept == before[-len(kept) :]
    newer = json.loads(
        world.vm.cli("proxy", "history", "--json", "--since", str(before[-1]["id"])).stdout
    )["entries"]
    assert newer and newer[0]["id"] == before[-1]["id"] + 1 and newer[-1]["name"] == "LIVE", newer
    lines = world.vm.cli("proxy", "history").stdout.splitlines()
    assert len(lines) == len(after) and "LIVE" in lines[-1], lines[-3:]


def test_a_damaged_history_is_put_aside(world):
    world.vm.stop_agent()
    world.host.run(["sh", "-c", f"head -c 50 {FOLDER}/history.json > {FOLDER}/h; cat {FOLDER}/h > {FOLDER}/history.json; rm {FOLDER}/h"])
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=20)
    entries = json.loads(world.vm.cli("proxy", "history", "--json").stdout)["entries"]
    assert entries[0]["id"] == 1 and entries[-1]["name"] == "LIVE"
    assert "HWS-PX-061" in (world.host.log_dir / "hawserd.log").read_text(errors="replace")
    world.host.run(["rm", f"{FOLDER}/history.json.damaged"])


def test_events_tell_of_proxy_and_health(world):
    follower = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "events", "--follow", "--json"], log="events.log")
    log = world.host.log_dir / "events.log"
    told = lambda: [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]  # noqa: E731
    poll.until("what was before is told", lambda: {each["source"] for each in told()} == {"proxy", "health"}, 10)
    pid = proxy(world)["pid"]
    world.host.run(["kill", "-9", str(pid)])
    wait_for_live(world, other_than=pid)
    poll.until("the crash is told", lambda: any(each.get("name") == "ENDED" for each in told()), 10)
    world.host.stop(follower, timeout=5)
    lines = world.vm.cli("events").stdout.splitlines()
    assert any("proxy" in line for line in lines) and any("> LIVE" in line for line in lines), lines
    assert lines == sorted(lines, key=lambda line: line[:24])


def test_connections_by_listener_and_cluster(world):
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
    with world.traffic() as traffic:
        traffic.more(5)
        seen = json.loads(world.vm.cli("proxy", "connections", "--json").stdout)
        text = world.vm.cli("proxy", "connections", "--peers", "1000").stdout
    assert any(row["address"].endswith("_80") and row["connections"] > 0 for row in seen["listeners"]), seen
    assert any(facts.REVIEWS_HOST in row["name"] and row["connections"] > 0 for row in seen["clusters"]), seen
    assert "listener" in text and "cluster" in text, text
    ours = [peer for peer in seen["peers"] if peer["local_port"] == 15001]
    assert any(peer["received"] > 0 and peer["sent"] > 0 and peer["idle_ms"] < 20_000 for peer in ours), seen["peers"]
    kept = [f"peer      {peer['address']}:{peer['port']}, " for peer in ours]  # others come and go
    assert any(peer in text for peer in kept), text
    refused = world.vm.cli("proxy", "connections", "--generation", "f9e9", check=False)
    assert refused.returncode != 0 and "HWS-PX-001" in refused.stderr


def test_config_dump_in_parts_and_without_keys(world):
    whole = world.vm.cli("proxy", "config-dump", "--endpoints").stdout
    kinds = {config["@type"].rsplit(".", 1)[1] for config in json.loads(whole)["configs"]}
    assert {"BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump"} <= kinds, kinds
    assert "PRIVATE KEY" not in whole
    clusters = json.loads(world.vm.cli("proxy", "config-dump", "--resource", "static_clusters").stdout)
    assert any(config["cluster"]["name"] == "xds-grpc" for config in clusters["configs"])
    refused = world.vm.cli("proxy", "config-dump", "--resource", "nothing", check=False)
    assert refused.returncode != 0 and "HWS-PX-063" in refused.stderr
    command = [f"{layout.BIN_IN_HOST}/hawser", "proxy", "config-dump"]
    stranger = world.host.run(command, check=False, uid=facts.UID_APP, gid=facts.GID_APP)
    assert stranger.returncode != 0 and "HWS-AD-001" in stranger.stderr, stranger.stderr


def test_logs_are_json_and_shown(world):
    """The lab's broker has no folder for logs: the proxy writes into its own."""
    lines = (world.host.log_dir / "hawser-broker.log").read_text(errors="replace").splitlines()
    ours = [json.loads(line) for line in lines if line.startswith('{"time"') and '"logger"' in line]
    assert ours and {"time", "level", "logger", "message"} <= set(ours[0]), lines[-5:]
    # journalctl itself is asked by a stand-in, which says how
    world.host.run(["sh", "-c", f"mkdir -p {layout.LAB_DIR}/logs; for g in f1e0 f1e1; do echo of $g > {layout.LAB_DIR}/logs/$g.log; done"])
    script = f"printf '#!/bin/sh\\necho \"$@\"\\n' > {layout.LAB_DIR}/journalctl; chmod 755 {layout.LAB_DIR}/journalctl"
    world.host.run(["sh", "-c", script])
    env = {"PATH": f"{layout.LAB_DIR}:/usr/bin:/bin"}
    assert "_SYSTEMD_SLICE=hawser.slice" in world.vm.cli("proxy", "logs", env=env).stdout
    assert "HAWSER_GENERATION=f1e1" in world.vm.cli("proxy", "logs", "--generation", "f1e1", env=env).stdout
    where = ("--dir", f"{layout.LAB_DIR}/logs")
    assert "of f1e0" in world.vm.cli("proxy", "logs", *where).stdout
    assert world.vm.cli("proxy", "logs", *where, "--generation", "f1e1").stdout == "of f1e1\n"
    assert "HWS-CLI-020" in world.vm.cli("proxy", "logs", "--dir", "/nowhere", check=False).stderr


def test_leaves_nothing(world):
    world.vm.leave()
    left = world.host.run(["ls", "-A", FOLDER]).stdout.split()
    assert not left, left

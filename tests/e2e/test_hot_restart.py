# SPDX-License-Identifier: Apache-2.0
"""`hawser proxy restart` by hot restart, under load: the next epoch takes over, and nobody notices."""

from __future__ import annotations

import json

import pytest

from lab import facts, generations, layout, poll, services, steps
from lab.replacing import (
    LEAVES,
    SETTINGS,
    SLEEPS,
    WAITS,
    begin_restart,
    envoys,
    gates,
    gates_told,
    install_fake,
    proxy,
    reinstall,
    restart,
    wait_for_the_only_one,
    wait_until_alone,
)

pytestmark = pytest.mark.incremental

BEFORE_LIVE = ["snapshot", "held", "launched", "epoch", "version", "clusters", "certificates"]


def held_back(world) -> list[str]:
    return [hold["generation"] for hold in world.vm.status()["control_plane"]["held_back"]]


def successor(generation: str) -> str:
    family, epoch = generation[1:].split("e")
    return f"f{family}e{int(epoch) + 1}"


def put_right(world, before) -> None:
    """The old one serves, and has lost its admin interface to one that was never LIVE."""
    assert envoys(world) == {before["pid"]} and held_back(world) == []
    cold = json.loads(restart(world, "--hand-over", "planned-cold").stdout)
    assert proxy(world)["pid"] == cold["new"]["pid"] != before["pid"]
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)


def test_joins(world):
    world.vm.join(world.bundle, *SETTINGS, "proxy.hand_over=hot-restart")
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_three_restarts_in_a_row_lose_no_request(world, record_property):
    took = []
    with world.traffic() as traffic:
        traffic.more(50)
        for epoch in (1, 2, 3):
            before = proxy(world)
            done = json.loads(restart(world).stdout)
            after = proxy(world)
            took.append(done["took_ms"])
            assert done["hand_over"] == "hot-restart" and all(gate["passed"] for gate in done["gates"]), done
            assert BEFORE_LIVE == [gate["name"] for gate in done["gates"]][-len(BEFORE_LIVE) - 5 : -5], done
            assert gates(done)["request"], done
            assert done["old"] == {"generation": before["generation"], "pid": before["pid"]}
            assert after["generation"] == done["new"]["generation"] == f"f1e{epoch}"
            assert after["pid"] == done["new"]["pid"] != before["pid"]
            assert after["state"] == "LIVE"
            traffic.more(50)
            wait_until_alone(world, after["pid"])
            traffic.more(20)
        reports = traffic.finish()
    sent = sum(report.sent for report in reports.values())
    print(f"request to LIVE: {took} ms; {sent} requests, 0 failed")
    record_property("took_ms", took)
    record_property("requests", sent)
    assert world.vm.status()["state"] == "ok"


def test_statistics_and_certificates_follow_the_new_one(world):
    text = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
    assert 'hawser_proxy_restarts_total{result="ok"} 3' in text
    assert "envoy_server_hot_restart_epoch" in text
    world.vm.renew()
    assert world.vm.cert()["presented_serial"] == world.vm.cert()["serial"]


def test_a_second_restart_waits_for_the_predecessor_to_leave(world):
    done = json.loads(restart(world).stdout)
    refused = restart(world, check=False)
    assert refused.returncode != 0 and "HWS-PX-021" in refused.stderr, refused.stderr
    wait_until_alone(world, done["new"]["pid"])


def test_one_that_never_serves_leaves_the_old_one_serving(world):
    before = proxy(world)
    install_fake(world, SLEEPS)
    with world.traffic() as traffic:
        traffic.more(20)
        failed = restart(world, check=False)
        traffic.more(50)
        traffic.finish()
    reinstall(world)
    assert failed.returncode != 0 and "HWS-PX-024" in failed.stderr, failed.stderr
    assert proxy(world)["pid"] == before["pid"]
    assert world.vm.status()["state"] == "ok"
    poll.until("the one that failed is gone", lambda: envoys(world) == {before["pid"]})
    asleep = world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} sleep || true"]).stdout
    assert not asleep.strip(), asleep
    # it never touched what both share: the next one works
    done = json.loads(restart(world).stdout)
    wait_until_alone(world, done["new"]["pid"])


def test_one_that_takes_the_admin_interface_and_never_serves(world):
    """The worst that a failed attempt leaves behind: told, without a failed request, and put right by a cold start."""
    before = proxy(world)
    install_fake(world, WAITS)
    with world.traffic() as traffic:
        traffic.more(20)
        failed = restart(world, check=False)
        traffic.more(50)
        refused = restart(world, check=False)
        traffic.finish()
    reinstall(world)
    assert "HWS-PX-024" in failed.stderr and "PRE_INITIALIZING" in failed.stderr, failed.stderr
    assert "without its admin interface" in failed.stderr, failed.stderr
    assert "HWS-PX-021" in refused.stderr, refused.stderr
    assert envoys(world) == {before["pid"]}
    item = next(item for item in world.vm.status()["items"] if item["name"] == "proxy")
    assert item["id"] == "HWS-PX-025" and f"pid {before['pid']}" in item["detail"], item
    world.vm.restart_agent()  # also one that finds it so takes it as it is
    world.vm.wait("REGISTERED", timeout=20)
    assert proxy(world)["pid"] == before["pid"]
    cold = json.loads(restart(world, "--hand-over", "planned-cold").stdout)
    assert cold["hand_over"] == "planned-cold" and cold["refused_ms"] <= 5000, cold
    assert proxy(world)["pid"] == cold["new"]["pid"] != before["pid"]
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
    done = json.loads(restart(world).stdout)
    wait_until_alone(world, done["new"]["pid"])


def test_one_that_is_held_back_is_called_off(world):
    before = proxy(world)
    install_fake(world, WAITS)
    with world.traffic() as traffic:
        traffic.more(20)
        asked = begin_restart(world, "called-off.log")
        poll.until("its listeners are held back", lambda: held_back(world) == [successor(before["generation"])], 10)
        poll.until("it runs", lambda: envoys(world) - {before["pid"]}, 10)
        world.vm.cli("proxy", "restart", "--call-off")
        assert asked.wait(10) != 0
        traffic.more(50)
        traffic.finish()
    reinstall(world)
    history = world.vm.cli("proxy", "history").stdout
    assert "held" in history, history
    put_right(world, before)


def test_one_of_another_version_than_was_validated_is_never_live(world):
    before = proxy(world)
    other = f"{layout.LAB_DIR}/other-envoy"
    world.host.run(["install", "-m", "755", services.older_envoy_binary(), other])
    install_fake(world, f'exec {other} "$@"')
    with world.traffic() as traffic:
        traffic.more(20)
        failed = restart(world, check=False)
        traffic.more(50)
        traffic.finish()
    reinstall(world)
    assert failed.returncode != 0 and "HWS-PX-032" in failed.stderr and "was validated" in failed.stderr, failed.stderr
    put_right(world, before)


def test_a_hold_ends_with_hawserd(world):
    """An operator holds the next one back, too, so that there is time. The next hawserd knows of neither."""
    before = proxy(world)
    new = successor(before["generation"])
    world.vm.cli("xds", "hold", new, "--first-lds", "--for", "60s", "--reason", "the test looks")
    with world.traffic() as traffic:
        traffic.more(20)
        asked = begin_restart(world, "held.log")
        poll.until("it has been looked at", lambda: gates_told(world)[-1:] == [(new, "certificates")], 20)
        poll.until("the hand-over's own hold is over", lambda: held_back(world) == [new], 10)
        world.vm.kill_agent()
        traffic.more(20)
        world.vm.start_agent()
        world.vm.wait("REGISTERED", timeout=40)
        poll.until("the new one serves", lambda: proxy(world)["generation"] == new, 20)
        wait_until_alone(world, proxy(world)["pid"])
        traffic.more(30)
        traffic.finish()
    asked.wait(10)
    assert held_back(world) == []
    sockets = world.host.run(["ls", "/run/hawser/proxy"]).stdout.split()
    assert sorted(sockets) == [f"{new}.admin.sock", f"{new}.worker.sock"], sockets


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("delay_ms", [20, 120, 250])
def test_hawserd_ends_in_the_middle(world, delay_ms, how):
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(20)
        asked = begin_restart(world, f"restart-{how}-{delay_ms}.log")
        world.host.run(["sleep", f"{delay_ms / 1000}"])
        world.vm.kill_agent() if how == "kill" else world.vm.stop_agent()
        found = envoys(world)
        traffic.more(20)
        world.vm.start_agent()
        world.vm.wait("REGISTERED", timeout=40)
        poll.until("one proxy is left", lambda: len(envoys(world)) == 1, LEAVES + 20)
        traffic.more(30)
        traffic.finish()
    asked.wait(10)
    now = wait_for_the_only_one(world, 10)
    print(f"{how} after {delay_ms} ms: {len(found)} proxies, {before['generation']} → {now['generation']}")
    # The broker may start the new one after hawserd has died: so it's told by its name. A cold start is no answer.
    family, epoch = before["generation"][1:].split("e")
    successor = f"f{family}e{int(epoch) + 1}"
    kept = now["generation"] == before["generation"] and now["pid"] == before["pid"]
    assert kept or now["generation"] == successor, f"none of those that ran was taken: {before}, {now}"
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    done = json.loads(restart(world).stdout)  # and it can be replaced again
    wait_until_alone(world, done["new"]["pid"])


def test_a_dead_proxy_is_still_started_cold(world):
    before = proxy(world)
    world.host.run(["kill", "-9", str(before["pid"])])
    assert generations.wait_another(world, before["pid"], 20)["generation"] == "f1e0", "it isn't epoch 0 again"
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)


def test_leaves_while_a_predecessor_drains(world):
    restart(world)
    world.vm.leave()
    assert not envoys(world)
    assert not world.host.run(["sh", "-c", "ls /dev/shm | grep envoy || true"]).stdout.strip()
    assert world.vm.status()["state"] == "not_joined"

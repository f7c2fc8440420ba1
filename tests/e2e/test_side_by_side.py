# SPDX-License-Identifier: Apache-2.0
"""Hand-overs that need no protocol of Envoy's: side by side, called off, cut off; and a planned cold start."""

from __future__ import annotations


import pytest

from lab import failpoints, poll, services, steps
from lab.replacing import (
    LEAVES,
    OTHER_PROTOCOL,
    SETTINGS,
    SLEEPS,
    begin_restart,
    begin_window,
    envoys,
    gates,
    install_fake,
    proxy,
    reinstall,
    restart,
    restarted,
    set_queues_move,
    wait_for_the_only_one,
    wait_until_alone,
)

pytestmark = pytest.mark.incremental


def test_joins(world):
    set_queues_move(world, True)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


def test_a_plan_says_what_would_happen_and_does_nothing(world):
    before = proxy(world)
    plan = restarted(world, "--plan")
    assert plan["would_proceed"] and plan["hand_over"] == "side-by-side" and plan["why"], plan
    assert plan["new"]["generation"] == "f2e0" and gates(plan)["validate"], plan
    set_queues_move(world, False)
    lossless = restarted(world, "--plan")
    assert lossless["hand_over"] == "hot-restart" and "tcp_migrate_req" in lossless["why"], lossless
    set_queues_move(world, True)
    other = restarted(world, "--plan", "--hand-over", "hot-restart")
    assert other["new"]["generation"] == "f1e1" and gates(other)["hot_restart_version"], other
    assert "on both sides" in str(other["gates"]), other
    assert proxy(world)["pid"] == before["pid"] and envoys(world) == {before["pid"]}


def test_two_in_a_row_lose_no_request_and_the_families_take_turns(world, record_property):
    took = []
    with world.traffic() as traffic:
        traffic.more(20)
        for generation in ("f2e0", "f1e0"):
            before = proxy(world)
            done = restarted(world)
            took.append(done["took_ms"])
            assert done["hand_over"] == "side-by-side" and all(gates(done).values()), done
            assert {"snapshot", "request"} <= gates(done).keys() and "held" not in gates(done), done
            after = proxy(world)
            assert after["generation"] == done["new"]["generation"] == generation
            assert after["pid"] == done["new"]["pid"] != before["pid"]
            traffic.more(20)
            wait_until_alone(world, after["pid"])
            traffic.more(20)
        reports = traffic.finish()
    print(f"request to take-over: {took} ms; {sum(report.sent for report in reports.values())} requests, 0 failed")
    record_property("took_ms", took)
    assert world.vm.status()["state"] == "ok"
    text = services.curl(world.host, "http://127.0.0.1:15020/metrics").body
    assert 'hawser_proxy_hand_overs_total{hand_over="side-by-side"} 2' in text
    assert 'hawser_proxy_gates_total{gate="canary",result="passed"} 2' in text
    left = world.host.run(["sh", "-c", "ls /dev/shm | grep -c envoy"]).stdout.strip()
    assert left == "1", "the shared memory of the family that ended is still there"


def test_another_protocol_of_hot_restart_is_found_out_before_anything_starts(world):
    """Two that speak different ones can't hand over so; side by side they needn't speak at all."""
    before = proxy(world)
    install_fake(world, OTHER_PROTOCOL, as_envoy=("--version", "--mode"))
    refused = restart(world, "--hand-over", "hot-restart", check=False)
    assert refused.returncode != 0 and "HWS-PX-031" in refused.stderr and "11.999" in refused.stderr, refused.stderr
    assert proxy(world)["pid"] == before["pid"] and envoys(world) == {before["pid"]}
    set_queues_move(world, False)  # so that hot restart is chosen first
    done = restarted(world)
    set_queues_move(world, True)
    assert done["hand_over"] == "side-by-side" and "11.999" in done["why"], done
    wait_until_alone(world, done["new"]["pid"])
    reinstall(world)
    wait_until_alone(world, restarted(world)["new"]["pid"])


def test_one_that_never_serves_is_called_off(world):
    before = proxy(world)
    install_fake(world, SLEEPS)
    with world.traffic() as traffic:
        failed = restart(world, check=False)
        traffic.more(20)
        traffic.finish()
    reinstall(world)
    assert failed.returncode != 0 and "HWS-PX-024" in failed.stderr, failed.stderr
    assert proxy(world)["pid"] == before["pid"] and world.vm.status()["state"] == "ok"


def test_called_off_in_its_window_nothing_is_lost(world):
    before = proxy(world)
    with world.traffic() as traffic:
        traffic.more(10)
        asked, _ = begin_window(world, "called-off.log")
        restart(world, "--call-off")
        traffic.more(20)
        assert asked.wait(20) != 0
        poll.until("the new one is gone", lambda: envoys(world) == {before["pid"]}, 15)
        traffic.more(10)
        traffic.finish()
    assert proxy(world)["pid"] == before["pid"] and world.vm.status()["state"] == "ok"
    late = restart(world, "--call-off", check=False)
    assert "HWS-PX-034" in late.stderr, late.stderr


def test_one_that_is_killed_in_its_window_leaves_the_old_one_serving(world):
    before = proxy(world)
    asked, new = begin_window(world, "killed.log")
    world.host.run(["kill", "-9", str(new)])
    assert asked.wait(20) != 0
    with world.traffic() as traffic:  # what the new one had accepted died with it, and nothing else
        traffic.more(10)
        traffic.finish()
    assert envoys(world) == {before["pid"]} and proxy(world)["pid"] == before["pid"]
    assert world.vm.status()["state"] == "ok"


@failpoints.needed
@pytest.mark.parametrize("step", ["proxy.hand_over/LAUNCHING", "proxy.hand_over/CANARY", "retire.drain/*"])
def test_hawserd_dies_in_the_middle(world, step):
    before = proxy(world)
    world.vm.stop_agent()
    world.vm.start_agent(env=failpoints.at(step))
    world.vm.wait("REGISTERED", timeout=40)
    with world.traffic() as traffic:
        traffic.more(10)
        begin_restart(world, "dies.log")
        assert world.vm.agent.wait(20) == failpoints.KILLED
        found = envoys(world)
        traffic.more(10)
        world.vm.start_agent()
        world.vm.wait("REGISTERED", timeout=40)
        poll.until("one proxy is left", lambda: len(envoys(world)) == 1, LEAVES + 20)
        traffic.more(10)
        traffic.finish()
    now = wait_for_the_only_one(world, 10)
    assert now["pid"] in found, "none of those that ran was taken"
    assert (now["pid"] == before["pid"]) == (step.endswith("LAUNCHING")), "the newer one that is LIVE is to be taken"
    wait_until_alone(world, now["pid"])
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)


def test_a_planned_cold_start_refuses_connections_for_less_than_a_second(world, record_property):
    before = proxy(world)
    done = restarted(world, "--hand-over", "planned-cold")
    print(f"refused for at most {done['refused_ms']} ms")
    record_property("refused_ms", done["refused_ms"])
    assert done["hand_over"] == "planned-cold" and done["refused_ms"] <= 5000 and gates(done)["request"], done
    now = proxy(world)
    assert now["pid"] == done["new"]["pid"] != before["pid"] and now["state"] == "LIVE"
    with world.traffic() as traffic:
        traffic.more(10)
        traffic.finish()
    wait_until_alone(world, now["pid"])
    assert world.vm.status()["state"] == "ok"


def test_leaves_in_the_window(world):
    begin_window(world, "leaves.log")
    world.vm.leave()
    assert not envoys(world)
    assert not world.host.run(["sh", "-c", "ls /dev/shm | grep envoy || true"]).stdout.strip()
    assert world.vm.status()["state"] == "not_joined"

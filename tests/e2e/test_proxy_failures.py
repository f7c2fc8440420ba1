# SPDX-License-Identifier: Apache-2.0
"""A proxy that hangs, that loses its predecessor, that can't start: what hawserd makes of it, and what callers notice."""

from __future__ import annotations

import json
import signal
import time
import typing

import pytest

from lab import facts, failpoints, faults, generations, layout, poll, services, steps

pytestmark = pytest.mark.incremental

STORE = "/var/lib/hawser/proxy/bin"
PROBATION = 6  # seconds
BASE_ID = 4101
SETTINGS = ("proxy.parent_shutdown=40s", "proxy.drain=2s", "proxy.start_timeout=20s", f"proxy.probation={PROBATION}s")
OUTLIVES = 18  # seconds; without a stand-in the successor aborts after 14


def proxy(world) -> dict[str, typing.Any]:
    return world.vm.status()["proxy"]


def kill(world, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    world.host.run(["kill", f"-{number.value}", str(pid)])


def crashes(world, cause: str) -> float:
    return services.metric(world.host, f'hawser_proxy_crashes_total{{cause="{cause}"}}')


def wait_for_another(world, pid: int, timeout: float = 30) -> dict[str, typing.Any]:
    now = generations.wait_another(world, pid, timeout)
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
    return now


def test_joins(world):
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)


# dies some seconds after it was started, as a binary does that crashes once it has traffic
CRASHES = f"""
set -e
real=$(readlink {STORE}/current)
cat > {layout.LAB_DIR}/crashes.sh <<'EOF'
#!/bin/sh
case " $* " in *" --version "*|*" --mode "*|*" --hot-restart-version "*) exec {STORE}/REAL/envoy "$@";; esac
(sleep 2; kill -SEGV $$) &
exec {STORE}/REAL/envoy "$@"
EOF
sed -i "s/REAL/$real/g" {layout.LAB_DIR}/crashes.sh
sum=$(sha256sum {layout.LAB_DIR}/crashes.sh | cut -d' ' -f1)
mkdir -m 755 {STORE}/$sum
install -m 755 {layout.LAB_DIR}/crashes.sh {STORE}/$sum/envoy
ln -sfn $sum {STORE}/current
echo $sum
"""


def current(world) -> str:
    return world.host.run(["readlink", f"{STORE}/current"]).stdout.strip()


def hawserd_log(world) -> str:
    return (world.host.log_dir / "hawserd.log").read_text(errors="replace")


def test_a_binary_that_keeps_crashing_is_given_up_for_the_last_good_one(world, record_property):
    good, before = current(world), proxy(world)
    poll.until("it has passed its probation", lambda: "served for its probation" in hawserd_log(world), PROBATION + 10)
    bad = world.host.run(["sh", "-c", CRASHES]).stdout.strip()
    kill(world, before["pid"])
    began = time.monotonic()
    generations.wait_another(world, before["pid"], 20)  # the bad one
    poll.until("it's given up", lambda: "is put aside" in hawserd_log(world), 60, every=0.2)
    poll.until("the good one is current", lambda: current(world) == good, 10, every=0.2)
    now = wait_for_another(world, before["pid"])
    took = time.monotonic() - began
    print(f"back to the good binary after {took:.1f} s")
    record_property("back_to_good_s", round(took, 1))
    assert took < 60
    assert world.host.exists(f"{STORE}/{bad}/quarantine.json")
    time.sleep(4)  # longer than the bad one lived
    assert proxy(world)["pid"] == now["pid"]
    kill(world, now["pid"])
    after = wait_for_another(world, now["pid"])  # nor is it tried again
    argv = world.host.run(["cat", f"/proc/{after['pid']}/cmdline"]).stdout
    assert good in argv and bad not in argv, argv
    world.host.run(["rm", "-r", f"{STORE}/{bad}"])


def test_one_that_hangs_is_replaced_once(world, record_property):
    before = proxy(world)
    starts = services.metric(world.host, "hawser_proxy_starts_total")
    kill(world, before["pid"], signal.SIGSTOP)
    stopped = time.monotonic()
    poll.until("it is declared wedged", lambda: crashes(world, "wedged") == 1, 20, every=0.1)
    noticed = time.monotonic() - stopped
    now = wait_for_another(world, before["pid"])
    print(f"noticed after {noticed:.1f} s, served again after {time.monotonic() - stopped:.1f} s")
    record_property("wedge_noticed_s", round(noticed, 1))
    assert noticed < 12
    assert now["generation"] == "f1e0"
    assert services.metric(world.host, "hawser_proxy_starts_total") == starts + 1
    assert "is wedged" in hawserd_log(world)


def test_a_lost_predecessor_takes_nobody_along(world):
    before = proxy(world)
    done = json.loads(world.vm.cli("proxy", "restart", "--hand-over", "hot-restart", "--json").stdout)
    with world.traffic() as traffic:
        traffic.more(10)
        kill(world, before["pid"])
        lost = time.monotonic()
        poll.until("its loss is told", lambda: crashes(world, "parent_lost") == 1, 10)
        while time.monotonic() - lost < OUTLIVES:
            traffic.more(20)
            assert proxy(world)["pid"] == done["new"]["pid"]
            time.sleep(0.5)  # the load needn't be dense: what counts is the time
        traffic.finish()
    now = proxy(world)
    assert (now["pid"], now["state"]) == (done["new"]["pid"], "LIVE")
    assert world.vm.status()["state"] == "ok"
    names = world.host.run(["ss", "-xl"]).stdout
    assert f"envoy_domain_socket_parent_{BASE_ID * 10}" in names, names
    again = json.loads(world.vm.cli("proxy", "restart", "--hand-over", "hot-restart", "--json").stdout)  # it's whole: another one can follow
    assert again["new"]["generation"] == "f1e2"
    kill(world, again["old"]["pid"])
    kill(world, again["new"]["pid"])
    wait_for_another(world, again["new"]["pid"])


def test_a_predecessor_that_dies_without_its_last_answer_takes_nobody_along(world):
    """The new one has asked it and waits, without a limit: its main thread takes no configuration meanwhile."""
    before = proxy(world)
    done = json.loads(world.vm.cli("proxy", "restart", "--hand-over", "hot-restart", "--json").stdout)
    with world.traffic() as traffic:
        traffic.more(10)
        kill(world, before["pid"], signal.SIGSTOP)
        poll.until("the new one waits", lambda: "doesn't answer" in world.vm.item("proxy")["detail"], 20)
        kill(world, before["pid"])
        poll.until("it has its answer", lambda: world.vm.item("proxy")["state"] == "ok", 20)
        traffic.more(20)
        traffic.finish()
    assert proxy(world)["pid"] == done["new"]["pid"]
    kill(world, done["new"]["pid"])
    wait_for_another(world, done["new"]["pid"])


def test_a_foreign_process_has_the_name_of_the_protocol(world):
    """No proxy can start, it's told and tried again; and what comes after that is well."""
    before = proxy(world)
    with faults.squatter(world.host, f"envoy_domain_socket_parent_{BASE_ID * 10}") as has_it:
        kill(world, before["pid"])
        poll.until("the squatter has the name", has_it, 10)
        told = poll.until("it is told", lambda: failing(world), 20)
        assert told["id"] in ("HWS-PX-006", "HWS-PX-042"), told
    wait_for_another(world, before["pid"])


def failing(world) -> dict[str, typing.Any] | None:
    item = next((item for item in world.vm.status()["items"] if item["name"] == "proxy"), {})
    return item if item.get("state") in ("degraded", "failed") and item.get("id") else None


def test_no_room_in_shared_memory(world):
    before = proxy(world)
    full = "size=$(df --output=avail -B1 /dev/shm | tail -1); fallocate -l $size /dev/shm/hawser-lab-full 2>/dev/null || head -c $size /dev/zero > /dev/shm/hawser-lab-full"
    world.host.run(["sh", "-c", "mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm; " + full])
    try:
        kill(world, before["pid"])
        poll.until("it's seen", lambda: proxy(world)["pid"] != before["pid"], 10)
        told = poll.until("it is told", lambda: failing(world), 20)
        assert told["id"] in ("HWS-PX-006", "HWS-PX-042"), told
    finally:
        world.host.run(["sh", "-c", "umount /dev/shm || rm -f /dev/shm/hawser-lab-full"])
    wait_for_another(world, before["pid"])


def envoys(world) -> set[int]:
    listed = world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} envoy || true"]).stdout
    return {int(pid) for pid in listed.split()}


def is_whole(world) -> None:
    """One proxy, LIVE and known, or two of which one drains; and another restart works."""
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=40)
    poll.until("one proxy serves", lambda: (p := proxy(world))["state"] == "LIVE" and p["pid"] in envoys(world), 20)
    poll.until("all is well", lambda: world.vm.status()["state"] == "ok", 20)
    assert len(envoys(world)) <= 2


@failpoints.needed
@pytest.mark.parametrize(
    "kind, step",
    [("hot-restart", "WARMING"), ("hot-restart", "VETTING"), ("hot-restart", "DONE"), ("side-by-side", "CANARY")],
)
def test_hawserd_dies_at_a_step_of_a_hand_over(world, kind, step):
    """No request is lost, whatever the step."""
    world.vm.stop_agent()
    for pid in envoys(world):
        kill(world, pid)
    world.vm.start_agent(env=failpoints.at(f"proxy.hand_over/{step}"))
    world.vm.wait("REGISTERED", timeout=40)
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)
    with world.traffic() as traffic:
        traffic.more(20)
        asked = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "proxy", "restart", "--hand-over", kind], log=f"restart-{kind}-{step}.log")
        failpoints.dies(world.vm.agent, step)
        traffic.more(20)
        is_whole(world)
        traffic.more(20)
        traffic.finish()
    asked.wait(10)


@failpoints.needed
@pytest.mark.parametrize("phase", ["STARTING", "WARMING", "LIVE", "ENDED"])
def test_hawserd_dies_in_a_phase(world, phase):
    world.vm.stop_agent()
    for pid in envoys(world):
        kill(world, pid)
    world.vm.spawn_agent(env=failpoints.at(f"proxy.phase/{phase}"))  # it may die before anybody could ask it
    failpoints.dies(world.vm.agent, phase)
    is_whole(world)
    poll.until("traffic flows", lambda: steps._ok(world, world.reviews.POOLED), 20)


def test_leaves_without_a_trace(world):
    world.host.run(["rm", f"{STORE}/last-good"])  # what a store remembers outlives a leave
    steps.leave(world)

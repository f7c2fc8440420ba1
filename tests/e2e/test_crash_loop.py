# SPDX-License-Identifier: Apache-2.0
"""A proxy that ends with 139 every 2 s (supervision, acceptance test 8): what hawserd, callers and the wire make of it.

Its binary is the only one, and known to be good: there's nothing else that could be started. The fault is outside of
it, as a request, a configuration or a machine is, and goes as it came: the proxy is started once more and stays. Nobody
tells hawserd, so that callers wait for its pause, too: at most 0.8 s after four ends in a row, later up to 10 s.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import statistics
import time
import typing
import uuid

import pytest

from bench import procfs
from lab import facts, poll, replacing, services, steps
from lab.asking import Asking
from lab.wire import Packet, Wire

pytestmark = pytest.mark.incremental

FAULT, SETTINGS = "/run/lab/fault", "/etc/hawser/conf.d/60-test.yaml"
LIVES = 2  # seconds; with listeners, if it has any
LASTING = 80  # answers in a row, one each 50 ms: for longer than it lives
# 139 is what a shell calls SIGSEGV. The other kinds never serve.
PROGRAM = f"""
case "$(cat {FAULT} 2>/dev/null)" in
crashes) (until grep -q ":3A99 .* 0A " /proc/net/tcp || ! kill -0 $$; do sleep 0.1; done; sleep {LIVES}; kill -SEGV $$) & ;;
ends) sleep {LIVES}; exit 139;;
dies) exit 139;;
esac
exec {replacing.STORE}/REAL/envoy "$@"
"""
PROBATION = 3  # seconds
POLICY_AFTER = 10  # seconds without a LIVE proxy
MAX_OPEN = 3  # seconds
BACK_WITHIN = 5  # seconds, of the fault's last end; where the row of ends is longer, of the pause's
CPU = 0.2  # of a core; about 0.03 on an idle machine, and 1 without pauses
BASE, CAP = 0.1, 10  # seconds: the back-off's
AROUND = 1.2  # of the back-off's curve
# Apart from its pause hawserd looks what runs, has the bootstrap validated (a start of Envoy) and starts the proxy.
WORK = 4  # seconds, on a busy machine
LATE = 1  # seconds that a timer may be, there
CHANCE = 0.3  # seconds; of a shorter curve more is the timer's lateness
MARK, MARK_IN = (f"{way}-{uuid.uuid4().hex}" for way in ("outbound", "inbound"))  # in what is asked
IN_THE_CLEAR = "reviews-itself"


@dataclasses.dataclass(frozen=True)
class Restart:
    """From an end of the proxy to the next start; of the wall clock."""

    ended: float
    waits: float
    goes_on: float
    started: float

    @property
    def pause(self) -> float:
        return self.goes_on - self.waits

    @property
    def gap(self) -> float:
        return self.started - self.ended


@dataclasses.dataclass
class Loop:
    """A row of ends, while it goes on."""

    scene: Scene
    begun: float
    after: int  # the last entry of the history before
    cpu_ms: float

    def history(self) -> list[dict[str, typing.Any]]:
        text = self.scene.world.vm.cli("proxy", "history", "--json", "--since", str(self.after)).stdout
        return [entry for entry in json.loads(text)["entries"] if entry["kind"] == "state"]

    def restarts(self) -> list[Restart]:
        """Those that have come about."""
        out, times = [], {}
        for entry in self.history():
            times[entry["name"]] = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
            if entry["name"] == "ENDED":
                times = {"ENDED": times["ENDED"]}
            elif entry["name"] == "WARMING" and "ENDED" in times:
                out.append(Restart(times["ENDED"], times["WAITING"], times["OBSERVING"], times["WARMING"]))
                times = {}
        return out

    def wait_for_run(self, number: int, timeout: float) -> None:
        """It's the proxy of that start since the loop's begin that runs now."""

        def runs() -> bool:
            names = [entry["name"] for entry in self.history()]
            starts = names.count("WARMING")
            if starts > number:
                raise poll.Hopeless(f"it's past run {number} already: {names}")
            return starts == number and names[-1] == "LIVE"  # when it has read its fault for sure

        poll.until(f"run {number}", runs, timeout, every=0.2)

    def lives(self) -> int:
        return [entry["name"] for entry in self.history()].count("LIVE")

    def share_of_cpu(self) -> float:
        """Of one core, that hawserd and the broker took since the loop's begin."""
        return (cpu_ms(self.scene.world) - self.cpu_ms) / 1000 / (time.time() - self.begun)


def cpu_ms(world) -> float:
    return sum(procfs.cpu_ms(process.pid) for process in (world.vm.agent, world.vm.broker))


class Scene:
    """reviews answers in the clear too, at its service's own address, to which the VM has a way: whatever isn't captured
    arrives there, and is seen on the wire."""

    def __init__(self, world) -> None:
        self.world = world
        self.pauses: list[tuple[float, float]] = []  # of all loops, with the curve's value
        with contextlib.ExitStack() as stack:
            world.mesh.run(["ip", "address", "add", f"{facts.REVIEWS_VIP}/32", "dev", "lo"])
            where = f"{facts.REVIEWS_VIP}:{facts.REVIEWS_PORT}"
            world.mesh.popen(services.program("http_app", IN_THE_CLEAR, where), log="in-the-clear.log")
            poll.until("it listens", lambda: world.mesh.tcp(facts.REVIEWS_VIP, facts.REVIEWS_PORT))
            way = ["via", facts.MESH_IP]
            world.host.run(["ip", "route", "add", facts.REVIEWS_VIP, *way])
            stack.callback(lambda: world.host.run(["ip", "route", "delete", facts.REVIEWS_VIP, *way]))
            self.wire = stack.enter_context(Wire(world.host, MARK.encode(), facts.REVIEWS_VIP))
            url = f"http://{facts.REVIEWS_HOST}/load/{MARK}"
            self.out = stack.enter_context(Asking(world.host, "out", url))
            self._stack = stack.pop_all()

    def watch_inbound(self) -> None:
        url = f"http://{facts.VM_IP}:{facts.VM_PORT}/{MARK_IN}"
        self.into = self._stack.enter_context(Asking(self.world.outside, "in", url))

    def close(self) -> None:
        """May be called twice."""
        self._stack.close()

    def begin(self, fault: str) -> Loop:
        """The proxy that serves crashes, and that fault is there from now on."""
        self.world.vm.restart_agent()  # so that the row of ends begins anew
        self.world.vm.wait("REGISTERED", timeout=20)
        self.out.wait_for("reviews", 10, times=5)
        entries = json.loads(self.world.vm.cli("proxy", "history", "--json").stdout)["entries"]
        self.world.host.write(FAULT, fault)
        loop = Loop(self, time.time(), entries[-1]["id"], cpu_ms(self.world))
        replacing.signal(self.world, replacing.proxy(self.world)["pid"], "SEGV")
        return loop

    def end(self, loop: Loop) -> tuple[float, list[Restart]]:
        """The fault goes, while a proxy runs that still has it: how long after that one's end requests passed."""
        self.world.host.run(["rm", FAULT])
        # One that has read the fault already ends once more: answers for longer than it lives are of the next.
        self.out.wait_for("reviews", LIVES + 2 * CAP + 5, times=LASTING)
        restarts = loop.restarts()
        good = [each.at for each in self.out.all(restarts[-1].ended) if each.got == "reviews"]
        bad = [each.until for each in self.out.all(restarts[-1].ended) if each.got != "reviews"]
        assert bad and good, "nobody asked while it was away"
        took = min(at for at in good if at >= max(bad)) - restarts[-1].ended
        self.judge(loop, restarts)
        print(f"in the mesh {took:.2f} s after the last end, with a pause of {restarts[-1].pause:.2f} s")
        return took, restarts

    def judge(
        self, loop: Loop, restarts: list[Restart], kept: typing.Callable[[float], bool] = lambda curve: True
    ) -> None:
        """What holds in each loop: pauses, CPU time, and that nobody is let in."""
        share = loop.share_of_cpu()
        for number, each in enumerate(restarts):
            curve = min(CAP, BASE * 2**number)
            if kept(curve):
                self.pauses.append((each.pause, curve))
            print(f"end {number}: pause {each.pause:.3f} of at most {curve:g} s, gap {each.gap:.3f} s")
            assert each.pause <= AROUND * curve + LATE, f"the pause after end {number}"
            assert each.gap <= AROUND * curve + WORK, f"the gap after end {number}"
        print(f"hawserd and the broker: {100 * share:.1f} % of a core")
        assert share < CPU
        asked = self.into.all(loop.begun)
        assert len(asked) > 20 and "vm-app" not in {each.got for each in asked}
        assert MARK_IN not in (self.world.host.log_dir / "vm-app.log").read_text()

    def in_the_clear(self, since: float) -> list[Packet]:
        packets = self.wire.packets(since)
        assert self.wire.missed() == 0
        return packets

    def refused_while_away(self, restarts: list[Restart]) -> int:
        """Each connect, from an end of the proxy to the next start."""
        asked = [each for away in restarts for each in self.out.within(away.ended, away.started)]
        assert {each.got for each in asked} == {"refused"}, asked
        return len(asked)


@pytest.fixture(scope="module")
def scene(world):
    made = Scene(world)
    yield made
    made.close()


def policy(world, outbound: str, max_open: int = 0) -> None:
    settings = f"on_failure: {{inbound: closed, outbound: {outbound}, max_open: {max_open}s}}"
    world.host.write(SETTINGS, f"interception: {{{settings}}}\n")
    world.vm.cli("intercept", "apply")


def told(world, error: str) -> bool:
    return any(item.get("id") == error for item in world.vm.status()["items"])


def test_what_is_not_captured_is_seen_on_the_wire(scene):
    asked = scene.out.wait_for(IN_THE_CLEAR, 5, times=5)
    marked = [packet for packet in scene.in_the_clear(asked.at) if MARK.encode() in packet.payload]
    assert {packet.outgoing for packet in marked} == {True, False}, "the request and the answer, which names its path"
    assert services.curl(scene.world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/before").json["service"] == "vm-app"


def test_joins(world, scene):
    replacing.install_fake(world, PROGRAM)
    world.vm.join(world.bundle, f"proxy.probation={PROBATION}s")
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)
    joined = scene.out.wait_for("reviews", 10, times=20)
    scene.watch_inbound()
    good = f"{replacing.STORE}/last-good"
    poll.until("it has passed its probation", lambda: world.host.exists(good), PROBATION + 10, every=0.2)
    assert scene.in_the_clear(joined.at) == [], "what is captured isn't"


def test_a_proxy_that_crashes_again_and_again_is_started_again_with_growing_pauses(world, scene):
    """The policy would open outbound, but it's never away for so long."""
    policy(world, "open")
    loop = scene.begin("crashes")
    loop.wait_for_run(3, 40)
    took, restarts = scene.end(loop)
    assert len(restarts) == 4 and took <= BACK_WITHIN
    assert loop.lives() == 4, "each of them served"
    assert scene.refused_while_away(restarts) >= len(restarts)
    assert scene.in_the_clear(loop.begun) == []
    assert IN_THE_CLEAR not in {each.got for each in scene.out.all(loop.begun)}


def test_closed_refuses_for_as_long_as_it_takes(world, scene):
    policy(world, "closed")
    loop = scene.begin("ends")
    poll.until("the policy is in force", lambda: told(world, "HWS-IC-003"), POLICY_AFTER + 5, every=0.5)
    in_force = time.time()
    assert in_force - loop.begun >= POLICY_AFTER - 0.5
    scene.out.wait_for("refused", 5, times=20)
    took, restarts = scene.end(loop)
    assert took - restarts[-1].pause <= BACK_WITHIN
    away = scene.out.within(restarts[0].ended, restarts[-1].started)
    assert len(away) > 100 and {each.got for each in away} == {"refused"}, away
    assert scene.in_the_clear(loop.begun) == []


def test_open_lets_outbound_go_and_for_no_longer_than_it_may(world, scene):
    policy(world, "open", MAX_OPEN)
    loop = scene.begin("ends")
    scene.out.wait_for(IN_THE_CLEAR, POLICY_AFTER + 5)
    poll.until("its time is over", lambda: told(world, "HWS-IC-009"), MAX_OPEN + 5, every=0.5)
    scene.out.wait_for("refused", 5, times=20)
    took, restarts = scene.end(loop)
    assert took - restarts[-1].pause <= BACK_WITHIN
    away = scene.out.within(restarts[0].ended, restarts[-1].started)
    assert {each.got for each in away} == {"refused", IN_THE_CLEAR}, away
    packets = scene.in_the_clear(loop.begun)
    assert all(towards_reviews(packet) for packet in packets), "only what the VM's own programs began"
    opened, closed = packets[0].at - restarts[0].ended, packets[-1].at - restarts[0].ended
    print(f"open from {opened:.2f} to {closed:.2f} s after the first end")
    assert opened >= POLICY_AFTER - 0.1
    assert closed - opened <= MAX_OPEN + LATE


def towards_reviews(packet: Packet) -> bool:
    there = (facts.REVIEWS_VIP, facts.REVIEWS_PORT)
    return packet.destination == there if packet.outgoing else packet.source == there


def test_what_is_mended_late_serves_as_soon(world, scene):
    """The row of ends is long and so is the pause: the operator, who knows better, asks for a proxy."""
    loop = scene.begin("dies")
    pause = lambda: services.metric(world.host, "hawser_proxy_backoff_seconds")  # noqa: E731
    poll.until("a long pause", lambda: pause() > BACK_WITHIN + 0.5, 120, every=0.2)
    world.host.run(["rm", FAULT])
    mended = time.time()
    asked = world.vm.cli("proxy", "restart", check=False)
    back = scene.out.wait_for("reviews", CAP + 10, times=20)
    # The pauses that the operator waited for were short by chance or long; to count some would lean the mean.
    scene.judge(loop, loop.restarts(), kept=lambda curve: curve <= BACK_WITHIN)
    print(f"back {back.at - mended:.1f} s after it was mended")
    assert back.at - mended <= BACK_WITHIN, asked.stderr


def test_pauses_are_spread_over_the_whole_curve(scene):
    """By chance, lest hosts that failed together come back together: so no pause alone is near the curve, only their mean."""
    shares = [pause / curve for pause, curve in scene.pauses if curve > CHANCE]
    mean = statistics.mean(shares)
    print(f"{len(shares)} pauses of {mean:.2f} times the curve")
    # Within 4 deviations of what chance makes; pauses that don't grow, or aren't spread, are beyond.
    assert len(shares) >= 8 and abs(mean - 0.5) <= 4 * (1 / 12 / len(shares)) ** 0.5


def test_leaves_without_a_trace(world, scene):
    scene.close()
    replacing.reinstall(world)
    world.host.run(["rm", f"{replacing.STORE}/last-good", SETTINGS])  # what a store remembers outlives a leave
    steps.leave(world)

# SPDX-License-Identifier: Apache-2.0
"""`hawser proxy restart`: one Envoy takes over from another."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import typing

from lab import admin_wire, facts, layout, poll
from lab.generations import proxy

STORE = "/var/lib/hawser/proxy/bin"
LEAVES = 6  # seconds that a predecessor may stay
SETTINGS = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=3s", "proxy.start_timeout=10s", "proxy.canary=2s")

# How long things take where a test has many hand-overs.
QUICK = ("proxy.parent_shutdown=2s", "proxy.drain=1s", "proxy.canary=2s")
OTHER_BOOTSTRAP = "/run/hawser/proxy/other.json"

# What an Envoy is asked before it should serve.
QUESTIONS = ("--version", "--mode", "--hot-restart-version")

# What may be put in the place of an Envoy.
OTHER_PROTOCOL = f"""
case " $* " in *" --hot-restart-version "*) echo 11.999; exit 0;; esac
exec {STORE}/REAL/envoy "$@"
"""
SLEEPS = "exec sleep 3600"
ENDS = "exit 1"


def _with(change: str) -> str:
    return f"""
{change}
shift 2
exec {STORE}/REAL/envoy -c {OTHER_BOOTSTRAP} "$@"
"""


# attaches to what it shares with its parent and stays there, for its bootstrap comes by a pipe that nobody writes to
HELD = _with(f"rm -f {OTHER_BOOTSTRAP}; mkfifo {OTHER_BOOTSTRAP}")
# goes on, takes its parent's admin interface away, and waits for a relay that isn't there
WAITS = _with(f'sed s,xds.sock,none.sock, "$2" > {OTHER_BOOTSTRAP}')

MARK_AT, MARK = 96, 1  # in Envoy's shared memory: a start is under way, or was cut off


def restart(world, *options: str, check: bool = True) -> subprocess.CompletedProcess:
    return world.vm.cli("proxy", "restart", "--json", *options, check=check)


def begin_restart(world, log: str, *options: str) -> subprocess.Popen:
    return world.host.popen(["hawser", "proxy", "restart", "--json", *options], log=log)


def restarted(world, *options: str) -> dict[str, typing.Any]:
    return json.loads(restart(world, *options).stdout)


def gates(answer: dict[str, typing.Any]) -> dict[str, bool]:
    return {gate["name"]: gate["passed"] for gate in answer["gates"]}


def envoys(world) -> set[int]:
    """Pids of the processes of the proxy's user."""
    listed = world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} envoy || true"]).stdout
    return {int(pid) for pid in listed.split()}


def wait_for_the_only_one(world, limit: float) -> dict[str, typing.Any]:
    """The proxy that is LIVE, once no other runs. By one look, for between two of them one may end and the next begin."""

    def only() -> dict[str, typing.Any]:
        found, running = proxy(world), envoys(world)
        assert found["state"] == "LIVE" and running == {found["pid"]}, (found, running)
        return found

    return poll.until("one proxy is LIVE and alone", only, limit)


def wait_until_alone(world, pid: int) -> None:
    poll.until("the predecessor has ended", lambda: envoys(world) == {pid}, LEAVES + 10)
    poll.until("and is reaped", lambda: len(generations(world)) == 1, 15)


def install_fake(world, serve: str, as_envoy: tuple[str, ...] = QUESTIONS) -> None:
    """A program that passes for an Envoy until it should serve: it is accepted by the broker, and never LIVE."""
    questions = "|".join(f'*" {question} "*' for question in as_envoy)
    script = f"""
set -e
real=$(readlink {STORE}/current)
echo "$real" > {layout.LAB_DIR}/real-envoy
cat > {layout.LAB_DIR}/fake.sh <<'EOF'
#!/bin/sh
case " $* " in {questions}) exec {STORE}/REAL/envoy "$@";; esac
{serve}
EOF
sed -i "s/REAL/$real/g" {layout.LAB_DIR}/fake.sh
sum=$(sha256sum {layout.LAB_DIR}/fake.sh | cut -d' ' -f1)
mkdir -p -m 755 {STORE}/$sum
install -m 755 {layout.LAB_DIR}/fake.sh {STORE}/$sum/envoy
ln -sfn $sum {STORE}/current
echo $sum > {layout.LAB_DIR}/fake-envoy
"""
    world.host.run(["sh", "-c", script])


def reinstall(world) -> None:
    """The fake goes, and what is held against it: another test may need it again."""
    lab = layout.LAB_DIR
    script = f"ln -sfn $(cat {lab}/real-envoy) {STORE}/current; rm -rf {STORE}/$(cat {lab}/fake-envoy) {OTHER_BOOTSTRAP}"
    world.host.run(["sh", "-c", script])


@contextlib.contextmanager
def fake(world, serve: str) -> typing.Iterator[None]:
    """What starts in here is no Envoy that would ever serve."""
    install_fake(world, serve)
    try:
        yield
    finally:
        reinstall(world)


def signal(world, pid: int, name: str) -> None:
    world.host.run(["kill", f"-{name}", str(pid)])


@contextlib.contextmanager
def stopped(world, pid: int) -> typing.Iterator[None]:
    signal(world, pid, "STOP")
    try:
        yield
    finally:
        world.host.run(["kill", "-CONT", str(pid)], check=False)  # it may have been ended meanwhile


def successor(before: dict[str, typing.Any], kind: str) -> str:
    """What the next one is called."""
    family, epoch = (int(part) for part in before["generation"][1:].split("e"))
    return f"f{family}e{epoch + 1}" if kind == "hot-restart" else f"f{3 - family}e0"


@contextlib.contextmanager
def without_listeners(world, generation: str) -> typing.Iterator[None]:
    """A proxy of that name gets everything else, and so is INITIALIZING."""
    world.vm.cli("xds", "hold", generation, "--first-lds", "--for", "60s", "--reason", "the lab looks at it")
    try:
        yield
    finally:
        world.vm.cli("xds", "release", generation, check=False)


def gates_told(world) -> list[tuple[str, str]]:
    """What the history has: generation and gate. By the socket: a window may be over before a program has started."""
    entries = admin_wire.call(world.host, "proxy_history")["entries"]
    return [(each["generation"], each["name"]) for each in entries if each["kind"] == "gate"]


def generations(world) -> dict[str, int]:
    """The pid of each that the broker has started, by name; 0: it's being started."""

    def work() -> dict[str, int]:
        records = pathlib.Path("/var/lib/hawser/proxy/run").glob("*.json")
        return {path.stem: json.loads(path.read_text())["process"]["pid"] for path in records}

    return world.host.call(work)


def started(world, before: dict[str, typing.Any], timeout: float = 15) -> int:
    """The pid of the one that was started beside that of `before`."""

    def other() -> int:
        return next((pid for name, pid in generations(world).items() if name != before["generation"]), 0)

    return poll.until("another one was started", other, timeout)


def begin_window(world, log: str, *options: str) -> tuple[subprocess.Popen, int]:
    """Both accept, side by side: the request that waits for the outcome, and the new one's pid."""
    before = proxy(world)
    asked = begin_restart(world, log, *options)
    last_gate = (successor(before, "side-by-side"), "request")
    poll.until("both serve", lambda: gates_told(world)[-1:] == [last_gate], 15, every=0.05)
    return asked, started(world, before)


def set_queues_move(world, on: bool) -> None:
    """Else a listener that closes resets who waits at it: docs/supervision.md."""
    world.host.sysctl(f"net.ipv4.tcp_migrate_req={int(on)}")


def _shared_memory(generation: str) -> pathlib.Path:
    return pathlib.Path(f"/dev/shm/envoy_shared_memory_{4100 + int(generation[1])}0")


def marked(world, generation: str) -> bool:
    """Would Envoy refuse a successor?"""
    content = world.host.call(_shared_memory(generation).read_bytes)
    assert len(content) == 104, "another layout than is known"
    return bool(content[MARK_AT] & MARK)


def mark(world, generation: str) -> None:
    """As a start that was cut off leaves it."""

    def work() -> None:
        with open(_shared_memory(generation), "r+b") as file:
            file.seek(MARK_AT)
            file.write(bytes([MARK]))

    world.host.call(work)

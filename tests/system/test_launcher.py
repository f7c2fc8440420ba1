# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The systemd launcher, asked over broker.sock: generations as units, through all that happens to broker and systemd."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import typing

import pytest

from lab import broker_wire, poll
from system import hawser

pytestmark = pytest.mark.incremental
PORT = 15901
BROKER = "hawser-broker.service"
ARGS = ["--parent-shutdown-time-s", "3", "--drain-time-s", "1"]
FOLDERS = ("/run/hawser/proxy", "/dev/shm", "/var/lib/hawser/proxy/run", "/var/lib/hawser/proxy/boot")


def bootstrap(name: str, manager: str = "HttpConnectionManager", port: int = PORT) -> bytes:
    """Answers each request with the generation's name."""
    prefix = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{prefix}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}
    http = {
        "@type": f"{prefix}.network.http_connection_manager.v3.{manager}",
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    listener = {
        "name": "test",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
    }
    admin = {"address": {"pipe": {"path": f"/run/hawser/proxy/{name}.admin.sock", "mode": 0o660}}}
    return json.dumps({"admin": admin, "static_resources": {"listeners": [listener]}}).encode()


class Broker:
    """The machine's broker, and what can be seen of its generations from outside of it."""

    def __init__(self, vm: hawser.SystemHawser) -> None:
        self.vm, self.machine = vm, vm.machine

    def ask(self, job: str, **fields: typing.Any) -> typing.Any:
        return broker_wire.call(self.machine, job, timeout=40, **fields)

    def start(self, name: str, config: bytes | None = None) -> int:
        return self.ask("start", generation=name, bootstrap=config or bootstrap(name), args=ARGS).start.pid

    def reap(self, name: str, wait: float = 10) -> typing.Any:
        return self.ask("reap", generation=name, wait_ms=int(wait * 1000)).reap

    def signal(self, name: str, number: int) -> None:
        self.ask("signal", generation=name, signal=number)

    def generations(self) -> dict[str, typing.Any]:
        return {each.name: each for each in self.ask("observe").observe.generations}

    def serves(self, name: str) -> None:
        def answer() -> bool:
            url = f"http://127.0.0.1:{PORT}/"
            return self.machine.run(["curl", "-s", "-m", "2", url], check=False).stdout == name

        poll.until(f"{name} serves", answer, 10)

    def answers(self) -> None:
        def work() -> bool:
            with contextlib.suppress(OSError, AssertionError, broker_wire.Refused):
                return self.ask("observe") is not None
            return False

        poll.until("the broker answers", work, 15)

    def left(self) -> list[str]:
        found = self.machine.run(["find", *FOLDERS, "-mindepth", "1"]).stdout.split()
        return found + self.vm.proxy_units()


@pytest.fixture(scope="module")
def broker(bare):
    bare.machine.install(hawser.package())
    vm = hawser.SystemHawser(bare.machine)
    vm.start()
    vm.install_envoy()
    return Broker(vm)


def test_a_bootstrap_is_validated_in_the_sandbox(broker):
    good = broker.ask("validate", generation="f9e0", bootstrap=bootstrap("f9e0")).validate
    assert good.valid and re.fullmatch(r"[\d.]+", good.version)
    bad = broker.ask("validate", generation="f9e0", bootstrap=bootstrap("f9e0", manager="Nonsense")).validate
    assert not bad.valid and "Nonsense" in bad.detail
    assert broker.left() == []


def test_a_generation_is_a_unit(broker):
    pid = broker.start("f9e0")
    broker.serves("f9e0")
    unit = broker.machine.unit("hawser-proxy-f9e0.service")
    assert int(unit["MainPID"]) == pid
    assert unit["Slice"] == "hawser.slice" and unit["Type"] == "exec"
    status = broker.machine.read(f"/proc/{pid}/status")
    assert re.search(r"^CapBnd:\s+0+$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    user = broker.machine.run(["id", "-u", "hawser-proxy"]).stdout.strip()
    assert re.search(rf"^Uid:\s+{user}\s+{user}\s", status, re.M)
    fields = json.loads(broker.machine.journal("hawser-proxy-f9e0.service", options=["-n", "1", "-o", "json"]))
    assert fields["HAWSER_GENERATION"] == "f9e0" and fields["SYSLOG_IDENTIFIER"] == "hawser-proxy-f9e0"


def test_it_is_adopted_by_a_new_broker(broker):
    before = broker.generations()["f9e0"]
    broker.vm.kill(BROKER)
    broker.answers()
    assert broker.generations()["f9e0"] == before


def test_it_is_adopted_without_its_record(broker):
    before = broker.generations()["f9e0"]
    broker.machine.run(["rm", "/var/lib/hawser/proxy/run/f9e0.json"])
    broker.vm.kill(BROKER)
    broker.answers()
    assert broker.generations()["f9e0"] == before


@pytest.mark.parametrize("verb", ["daemon-reload", "daemon-reexec"])
def test_systemd_is_reloaded(broker, verb):
    before = broker.generations()["f9e0"]
    broker.machine.systemctl(verb)
    broker.answers()
    assert broker.generations()["f9e0"] == before


def test_the_next_epoch_takes_over(broker):
    """Shared memory and abstract sockets are common to the units of a family."""
    broker.start("f9e1")
    broker.serves("f9e1")
    ended = broker.reap("f9e0", wait=15)
    assert ended.ended and ended.exit_status == 0
    broker.serves("f9e1")
    assert sum("envoy_shared_memory" in path for path in broker.left()) == 1


def test_an_end_that_no_broker_saw_is_known(broker):
    pid = broker.generations()["f9e1"].pid
    broker.machine.systemctl("stop", BROKER, "hawser-broker.socket")
    broker.machine.run(["kill", "-9", str(pid)])
    # Else the broker may still find it ending, and see the end itself.
    unit = "hawser-proxy-f9e1.service"
    poll.until("systemd is done with it", lambda: broker.machine.unit(unit)["ActiveState"] == "failed")
    broker.machine.systemctl("start", "hawser-broker.socket", BROKER)
    broker.answers()
    seen = broker.generations()["f9e1"]
    assert not seen.running and seen.exit_status == signal.SIGKILL


def test_the_last_of_a_family_leaves_nothing(broker):
    assert broker.reap("f9e1").exit_status == signal.SIGKILL
    assert broker.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_signalled_without_the_right_to_kill(broker, number):
    broker.start("f9e0")
    broker.serves("f9e0")
    broker.signal("f9e0", number)
    ended = broker.reap("f9e0")
    assert ended.ended and ended.exit_status == (0 if number == signal.SIGTERM else number)
    assert broker.left() == []


def test_a_program_that_gives_up_is_reported(broker):
    broker.start("f9e0", b"{nonsense")
    ended = broker.reap("f9e0")
    assert ended.ended and ended.exit_status == 1 << 8
    assert broker.left() == []


def test_what_is_asked_while_systemd_is_re_executed(broker):
    """The connection breaks and comes back: start and signal wait for it."""
    reexec = broker.machine.popen(["systemctl", "daemon-reexec"])
    broker.start("f9e0")
    reexec.wait(30)
    broker.serves("f9e0")
    reexec = broker.machine.popen(["systemctl", "daemon-reexec"])
    broker.signal("f9e0", signal.SIGTERM)
    ended = broker.reap("f9e0")
    reexec.wait(30)
    assert ended.ended and ended.exit_status == 0
    assert broker.left() == []


def test_the_system_bus_does_as_well(broker):
    """Where the private socket is out of reach."""
    broker.machine.run(["mv", "/run/systemd/private", "/run/systemd/private.away"])
    try:
        manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
        broker.machine.run(["busctl", "call", *manager, "RestartUnit", "ss", BROKER, "replace"])
        poll.until("it is another broker", lambda: _answers_on_the_system_bus(broker), 15)
        broker.start("f9e0")
        broker.serves("f9e0")
        broker.signal("f9e0", signal.SIGTERM)
        assert broker.reap("f9e0").ended
    finally:
        broker.machine.run(["mv", "/run/systemd/private.away", "/run/systemd/private"])
    assert broker.left() == []


def _answers_on_the_system_bus(broker: Broker) -> bool:
    try:
        return broker.ask("validate", generation="f9e0", bootstrap=bootstrap("f9e0")).validate.valid
    except (OSError, AssertionError, broker_wire.Refused):
        return False

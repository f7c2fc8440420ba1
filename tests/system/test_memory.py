# SPDX-License-Identifier: Apache-2.0
"""What one generation does to memory and to what its user shares stays with it (supervision, acceptance test 9)."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import typing

import pytest

from lab import poll
from system import hawser, machine
from system.test_launcher import BROKER, PORT, Broker, bootstrap

pytestmark = pytest.mark.incremental
LIMIT = 160 << 20
BOMBED = PORT + 1
PREFIX = "type.googleapis.com/envoy.extensions.filters.http"


def greedy(name: str) -> bytes:
    """Keeps each request in memory until it's whole, however large."""
    config = json.loads(bootstrap(name, port=BOMBED))
    (filters,) = (chain["filters"] for chain in config["static_resources"]["listeners"][0]["filter_chains"])
    http = filters[0]["typed_config"]["http_filters"]
    http.insert(0, {"name": "buffer", "typed_config": {"@type": f"{PREFIX}.buffer.v3.Buffer", "max_request_bytes": 1 << 31}})
    return json.dumps(config).encode()


@contextlib.contextmanager
def limited(broker: Broker, pid: int) -> typing.Iterator[None]:
    """By its unit; where the kernel counts memory in the first hierarchy alone, by a group of ours with the same limit."""
    if machine.memory_is_limited():
        yield
        return
    group = pathlib.Path("/sys/fs/cgroup/memory") / f"hawser-test-{pid}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        (group / "cgroup.procs").write_text(str(broker.machine.outer_pid(pid)))
        yield
    finally:
        poll.until("the group is empty", lambda: group.rmdir() is None, 10)


def shared_memory(broker: Broker) -> set[str]:
    return set(broker.machine.run(["find", "/dev/shm", "-name", "envoy_shared_memory_*"]).stdout.split())


def run_as_the_proxy(broker: Broker, *properties: str) -> None:
    options = [word for each in ("User=hawser-proxy", *properties) for word in ("-p", each)]
    broker.machine.run(["systemd-run", "--wait", "--collect", "-q", *options, "true"], timeout=30)


@pytest.fixture(scope="module")
def broker(bare):
    bare.machine.install(hawser.package())
    vm = hawser.SystemHawser(bare.machine)
    vm.start()
    bare.machine.write("/etc/hawser/broker.env", f"HAWSER_PROXY_MEMORY_MAX={LIMIT >> 20}M\n")
    bare.machine.systemctl("restart", BROKER)
    vm.install_envoy()
    return Broker(vm)


def test_each_generation_has_a_limit(broker):
    for name, config in (("f8e0", bootstrap("f8e0")), ("f9e0", greedy("f9e0"))):
        broker.start(name, config)
        unit = broker.machine.unit(f"hawser-proxy-{name}.service")
        assert unit["MemoryMax"] == str(LIMIT) and unit["MemoryHigh"] == "infinity"
    broker.serves("f8e0")
    poll.until("both are there", lambda: len(shared_memory(broker)) == 2, 10)


def test_a_bomb_ends_that_generation_and_nothing_else(broker):
    services = {unit: broker.vm.main_pid(unit) for unit in hawser.SERVICES}
    other = broker.generations()["f8e0"]
    upload = f"head -c 512M /dev/zero | curl -s -m 60 -T - http://127.0.0.1:{BOMBED}/"
    with limited(broker, broker.generations()["f9e0"].pid):
        broker.machine.run(["sh", "-c", upload], check=False, timeout=70)
        ended = broker.reap("f9e0", wait=20)
    assert ended.ended and ended.exit_status == signal.SIGKILL
    assert ended.out_of_memory == machine.memory_is_limited()
    assert broker.generations() == {"f8e0": other}
    assert {unit: broker.vm.main_pid(unit) for unit in hawser.SERVICES} == services
    broker.serves("f8e0")
    assert len(shared_memory(broker)) == 1


def test_what_its_user_does_elsewhere_leaves_its_shared_memory_alone(broker):
    kept = shared_memory(broker)
    run_as_the_proxy(broker)
    run_as_the_proxy(broker, "RemoveIPC=yes")
    assert shared_memory(broker) == kept, "another unit of its user has stopped"
    run_as_the_proxy(broker, "PAMName=login")
    assert shared_memory(broker) == kept, "its user has logged in and out"
    broker.machine.systemctl("daemon-reexec")
    broker.answers()
    assert shared_memory(broker) == kept


def test_a_hot_restart_follows(broker):
    broker.start("f8e1")
    broker.serves("f8e1")
    ended = broker.reap("f8e0", wait=15)
    assert ended.ended and ended.exit_status == 0 and not ended.out_of_memory


def test_the_default_is_far_away_and_zero_is_none(broker):
    broker.machine.run(["rm", "/etc/hawser/broker.env"])
    total = int(broker.machine.read("/proc/meminfo").split()[1]) * 1024
    for words, limit in ((None, total * 3 // 4), ("0", None)):
        if words:
            broker.machine.write("/etc/hawser/broker.env", f"HAWSER_PROXY_MEMORY_MAX={words}\n")
        broker.machine.systemctl("restart", BROKER)
        broker.answers()
        broker.start("f7e0", bootstrap("f7e0", port=BOMBED))
        set_to = broker.machine.unit("hawser-proxy-f7e0.service")["MemoryMax"]
        assert set_to == "infinity" if limit is None else abs(int(set_to) - max(limit, 1 << 30)) < limit // 50
        broker.signal("f7e0", signal.SIGKILL)
        assert not broker.reap("f7e0").out_of_memory

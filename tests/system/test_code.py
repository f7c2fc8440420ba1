# SPDX-License-Identifier: Apache-2.0
"""Lua and Wasm in the launcher's sandbox: each works by root's leave, and by the leave that it needs."""

from __future__ import annotations

import base64
import json
import typing

import pytest

from lab import poll
from system import hawser
from system.test_launcher import BROKER, PORT, Broker, bootstrap

pytestmark = pytest.mark.incremental
ENV = "/etc/hawser/broker.env"
UNIT = "hawser-proxy-f9e0.service"
TYPE = "type.googleapis.com/envoy.extensions.filters.http"
LUA = 'function envoy_on_request(r) r:respond({[":status"] = "200"}, "by Lua") end'


def _section(kind: int, *items: bytes) -> bytes:
    content = bytes([len(items)]) + b"".join(items)
    return bytes([kind, len(content)]) + content


def _export(name: str, kind: int, index: int) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind, index])


def plugin() -> bytes:
    """The least that the proxy-wasm ABI takes: it agrees to everything, and does nothing."""
    i32, function = 0x7F, 0x60
    types = (
        bytes([function, 0, 0]),
        bytes([function, 2, i32, i32, 0]),
        bytes([function, 1, i32, 1, i32]),
        bytes([function, 2, i32, i32, 1, i32]),
    )
    names = ("proxy_abi_version_0_2_1", "proxy_on_context_create", "malloc", "proxy_on_vm_start", "proxy_on_configure")
    of_type = (0, 1, 2, 3, 3)
    nothing, one = bytes([2, 0, 0x0B]), bytes([4, 0, 0x41, 1, 0x0B])
    return (
        b"\0asm\1\0\0\0"
        + _section(1, *types)
        + _section(3, *(bytes([each]) for each in of_type))
        + _section(5, bytes([0, 1]))
        + _section(7, *(_export(name, 0, index) for index, name in enumerate(names)), _export("memory", 2, 0))
        + _section(10, nothing, nothing, one, one, one)
    )


def config(filter_: dict[str, typing.Any]) -> bytes:
    whole = json.loads(bootstrap("f9e0"))
    (chain,) = whole["static_resources"]["listeners"][0]["filter_chains"]
    chain["filters"][0]["typed_config"]["http_filters"].insert(0, {"name": "code", "typed_config": filter_})
    return json.dumps(whole).encode()


def wasm() -> bytes:
    code = {"local": {"inline_bytes": base64.b64encode(plugin()).decode()}}
    vm = {"runtime": "envoy.wasm.runtime.v8", "code": code}
    return config({"@type": f"{TYPE}.wasm.v3.Wasm", "config": {"name": "x", "vm_config": vm}})


def lua() -> bytes:
    return config({"@type": f"{TYPE}.lua.v3.Lua", "default_source_code": {"inline_string": LUA}})


@pytest.fixture(scope="module")
def broker(bare):
    bare.machine.install(hawser.package())
    vm = hawser.SystemHawser(bare.machine)
    vm.start()
    vm.install_envoy()
    return Broker(vm)


def allow(broker: Broker, words: str) -> None:
    broker.machine.write(ENV, f"HAWSER_PROXY_ALLOW={words}\n")
    broker.machine.systemctl("restart", BROKER)
    broker.answers()


def answer(broker: Broker) -> str:
    return broker.machine.run(["curl", "-s", "-m", "2", f"http://127.0.0.1:{PORT}/"], check=False).stdout


@pytest.mark.parametrize("code", [lua, wasm])
def test_without_leave_it_ends_the_proxy(broker, code):
    """Why there is a gate in the relay."""
    broker.start("f9e0", code())
    poll.until("it ends at its first use", lambda: not answer(broker) and not broker.generations()["f9e0"].running, 15)
    assert broker.reap("f9e0").exit_status != 0


@pytest.mark.parametrize(("words", "code", "says"), [("lua", lua, "by Lua"), ("wasm", wasm, "f9e0"), ("lua,wasm", wasm, "f9e0")])
def test_by_leave_it_serves(broker, words, code, says):
    allow(broker, words)
    assert broker.ask("validate", generation="f9e0", bootstrap=code()).validate.valid
    broker.start("f9e0", code())
    poll.until("it serves", lambda: answer(broker) == says, 15)
    unit = broker.machine.unit(UNIT)
    assert unit["MemoryDenyWriteExecute"] == "no" and unit["NoNewPrivileges"] == "yes"
    assert ("pkey_alloc" in unit["SystemCallFilter"]) == ("wasm" in words)
    assert sorted(broker.generations()["f9e0"].permits) == sorted(words.split(","))
    broker.signal("f9e0", 9)
    broker.reap("f9e0")


def test_what_runs_keeps_its_sandbox(broker):
    broker.start("f9e0", lua())
    allow(broker, "none")
    poll.until("it serves", lambda: answer(broker) == "by Lua", 15)
    assert sorted(broker.generations()["f9e0"].permits) == ["lua", "wasm"]
    assert list(broker.ask("observe").observe.proxy_permits) == []
    broker.signal("f9e0", 9)
    broker.reap("f9e0")


def test_a_word_that_means_nothing_is_refused(broker):
    broker.machine.write(ENV, "HAWSER_PROXY_ALLOW=everything\n")
    broker.machine.systemctl("restart", BROKER, check=False)
    said = lambda: broker.machine.journal(BROKER, options=["-n", "20"])  # noqa: E731
    poll.until("the journal says so", lambda: "everything not in {" in said(), 15)
    broker.machine.run(["rm", ENV])
    broker.machine.systemctl("restart", BROKER)
    broker.answers()

# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Proxy generations: started, found again, ended and reaped by hawser-broker, with the real Envoy."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct

import pytest

from lab import facts, poll
from lab.broker_scene import BOOT, GOOD, NO_FILES, RUN, end, envoy, files, live, nothing_left, proc, scene, start
from lab.broker_scene import ended as has_ended
from lab.broker_wire import SOCKET, Refused, exchange, message

__all__ = ["envoy", "nothing_left", "scene"]  # fixtures


def test_a_good_bootstrap_is_valid_and_a_bad_one_says_why(scene, envoy):
    good = scene.ask("validate", generation="f1e0", bootstrap=json.dumps(GOOD).encode()).validate
    assert good.valid and good.version.startswith("1.")
    bad = scene.ask("validate", generation="f1e0", bootstrap=b'{"nonsense": 1}').validate
    assert not bad.valid and "nonsense" in bad.detail
    assert files(scene) == NO_FILES


def test_a_generation_runs_as_the_proxys_user_without_any_privilege(scene, envoy):
    started = start(scene)
    assert started.binary_sha256 == envoy
    poll.until("Envoy is LIVE", lambda: live(scene))
    status = proc(scene, started.pid)
    assert status["Uid"].split() == status["Gid"].split() == [str(facts.UID_PROXY)] * 4
    assert status["Groups"] == "" and status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["SigBlk"] == "0" * 16
    stat = scene.vm.run(["stat", "-c", "%a %u:%g", f"{BOOT}/f1e0.json"]).stdout.strip()
    assert stat == f"640 0:{facts.GID_PROXY}"
    [generation] = scene.observe().generations
    assert (generation.name, generation.pid, generation.running) == ("f1e0", started.pid, True)
    ended = end(scene)
    assert ended.ended and ended.exit_status == 0
    assert files(scene) == NO_FILES
    assert not scene.observe().generations


def test_a_generation_survives_the_broker_and_is_found_again(scene, envoy):
    pid = start(scene).pid
    poll.until("Envoy is LIVE", lambda: live(scene))
    scene.kill_broker()
    assert live(scene)
    scene.hawser.start_broker()
    [generation] = scene.observe().generations
    assert (generation.name, generation.pid, generation.running) == ("f1e0", pid, True)
    assert live(scene)
    ended = end(scene, number=signal.SIGKILL)
    assert ended.ended and os.WIFSIGNALED(ended.exit_status) and os.WTERMSIG(ended.exit_status) == signal.SIGKILL
    assert files(scene) == NO_FILES


def test_an_end_while_no_broker_ran_is_recorded(scene, envoy):
    pid = start(scene).pid
    poll.until("Envoy is LIVE", lambda: live(scene))
    scene.kill_broker()
    scene.vm.run(["kill", "-TERM", str(pid)])
    poll.until("Envoy has ended", lambda: has_ended(scene, pid))
    poll.until("its end is recorded", lambda: json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["ended"])
    scene.hawser.start_broker()
    ended = scene.ask("reap", generation="f1e0", wait_ms=5000).reap
    assert ended.ended and ended.exit_status == 0
    assert files(scene) == NO_FILES


def test_a_killed_holder_does_not_take_its_proxy_along_and_reap_still_cleans_up(scene, envoy):
    pid = start(scene).pid
    poll.until("Envoy is LIVE", lambda: live(scene))
    holder = json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["holder"]["pid"]
    scene.vm.run(["kill", "-KILL", str(holder)])
    poll.until("the holder has ended", lambda: has_ended(scene, holder))
    assert live(scene)
    [generation] = scene.observe().generations
    assert generation.running and generation.pid == pid
    ended = end(scene)
    assert ended.ended and ended.exit_status == -1  # nobody was there to see it
    assert files(scene) == NO_FILES


def test_the_holder_ignores_hangup_and_keeps_few_capabilities(scene, envoy):
    start(scene)
    holder = json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["holder"]["pid"]
    for name in ("HUP", "INT", "TERM"):
        scene.vm.run(["kill", f"-{name}", str(holder)])
    poll.until("Envoy is LIVE", lambda: live(scene))
    status = proc(scene, holder)
    assert int(status["CapEff"], 16) == (1 << 6) | (1 << 7)  # CAP_SETGID, CAP_SETUID
    assert status["Threads"] == "1"
    assert end(scene).ended


def test_the_next_epoch_takes_over_and_shared_memory_lives_with_the_family(scene, envoy):
    start(scene, "f1e0")
    poll.until("Envoy is LIVE", lambda: live(scene, "f1e0"))
    start(scene, "f1e1", args=["--concurrency", "1", "--parent-shutdown-time-s", "1", "--drain-time-s", "1"])
    poll.until("the next epoch is LIVE", lambda: live(scene, "f1e1"))
    first = scene.ask("reap", generation="f1e0", wait_ms=15_000).reap
    assert first.ended and first.exit_status == 0
    assert files(scene)["/dev/shm"] == ["envoy_shared_memory_41010"]
    assert end(scene, "f1e1").ended
    assert files(scene) == NO_FILES


def test_reap_in_time_says_that_it_still_runs(scene, envoy):
    start(scene)
    assert not scene.ask("reap", generation="f1e0", wait_ms=200).reap.ended
    assert not scene.ask("reap", generation="f1e0", wait_ms=0).reap.ended
    assert end(scene, number=signal.SIGKILL).ended


def test_a_name_that_runs_cannot_be_started_twice(scene, envoy):
    start(scene)
    with pytest.raises(Refused, match="HWS-BR-021"):
        start(scene)
    assert end(scene, number=signal.SIGKILL).ended


def test_a_generation_that_fails_at_once_can_be_started_again(scene, envoy):
    scene.ask("start", generation="f1e0", bootstrap=b'{"nonsense": 1}')
    poll.until("it has ended", lambda: not scene.observe().generations[0].running)
    assert scene.observe().generations[0].exit_status != 0
    assert start(scene).pid
    assert end(scene, number=signal.SIGKILL).ended
    assert files(scene) == NO_FILES


@pytest.mark.parametrize(
    "fields, id",
    [
        ({"generation": "f0e0"}, "HWS-BR-011"),
        ({"generation": "../etc/x"}, "HWS-BR-011"),
        ({"generation": "f1e01"}, "HWS-BR-011"),
        ({"args": ["--config-yaml", "{}"]}, "HWS-BR-012"),
        ({"args": ["--log-path", "/etc/passwd"]}, "HWS-BR-012"),
        ({"args": ["--concurrency", "-1"]}, "HWS-BR-012"),
        ({"args": ["--concurrency"]}, "HWS-BR-012"),
        ({"bootstrap": b""}, "HWS-BR-016"),
        ({"binary_sha256": "0" * 64}, "HWS-BR-030"),
        ({"binary_sha256": "../../../usr/bin"}, "HWS-BR-030"),
    ],
)
def test_what_may_not_be_started_is_refused(scene, envoy, fields, id):
    with pytest.raises(Refused, match=id):
        start(scene, **({"name": fields["generation"]} if "generation" in fields else fields))
    assert files(scene) == NO_FILES


def test_other_signals_and_unknown_generations_are_refused(scene, envoy):
    with pytest.raises(Refused, match="HWS-BR-017"):
        scene.ask("signal", generation="f1e0", signal=signal.SIGSTOP)
    with pytest.raises(Refused, match="HWS-BR-022"):
        scene.ask("signal", generation="f1e0", signal=signal.SIGTERM)
    with pytest.raises(Refused, match="HWS-BR-022"):
        scene.ask("reap", generation="f1e0", wait_ms=0)


def test_a_binary_that_was_changed_is_not_started(scene, envoy):
    path = f"/var/lib/hawser/proxy/bin/{envoy}/envoy"
    scene.vm.call(lambda: os.chmod(path, 0o757))
    with pytest.raises(Refused, match="HWS-BR-031"):
        start(scene)
    scene.vm.call(lambda: os.chmod(path, 0o755))

    def append(byte: bytes | None) -> None:
        with open(path, "r+b") as file:
            size = os.path.getsize(path)
            if byte is None:
                file.truncate(size - 1)
            else:
                file.seek(size)
                file.write(byte)

    scene.vm.call(append, b"x")
    with pytest.raises(Refused, match="HWS-BR-032"):
        start(scene)
    scene.vm.call(append, None)
    assert start(scene).pid
    assert end(scene, number=signal.SIGKILL).ended


def test_validation_does_not_hold_up_others(scene, envoy):
    bootstrap = json.dumps(GOOD).encode()
    request = message("Request", validate=message("ValidateRequest", generation="f1e0", bootstrap=bootstrap))
    payload = request.SerializeToString()

    def answered_early() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(SOCKET)
            client.sendall(struct.pack("!I", len(payload)) + payload)
            exchange(SOCKET, message("Request", observe=message("ObserveRequest")).SerializeToString(), 20)
            client.setblocking(False)
            try:
                early = bool(client.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                early = False
            client.settimeout(20)
            assert client.recv(4096)
            return early

    assert not scene.vm.call(answered_early), "it was answered after the validation, not while that ran"

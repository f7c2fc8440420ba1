# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A bad bootstrap never replaces a good generation: whatever hawserd may hand to the broker, the real Envoy says what is
wrong with it, nothing starts, and the generation that serves is as it was. So for a program that hangs or eats memory
when it should look at one."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import time

import pytest

from lab import bad_bootstraps, facts, poll
from lab.broker_scene import NO_FILES, RUN, Scene, end, envoy, files, live  # noqa: F401 (envoy: a fixture)
from lab.broker_wire import Refused
from lab.network import Lab

STORE = "/var/lib/hawser/proxy/bin"
ARGS = ["--concurrency", "1", "--log-level", "warning", "--drain-time-s", "1", "--parent-shutdown-time-s", "2"]
VALIDATE_WAIT_MS = 1500
INITIALIZING_AT, INITIALIZING = 96, 1  # in the shared memory of version 11.104: supervision.md's bit


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield Scene(lab, "--validate-wait", str(VALIDATE_WAIT_MS))


def bootstrap(generation: str, **changes) -> bytes:
    return json.dumps({**bad_bootstraps.good(generation), **changes}).encode()


@pytest.fixture(scope="module")
def serving(scene, envoy):  # noqa: F811
    """The good generation."""
    started = scene.ask("start", generation="f1e0", bootstrap=bootstrap("f1e0"), args=ARGS).start
    poll.until("Envoy is LIVE", lambda: live(scene))
    yield started
    for generation in scene.observe().generations:
        end(scene, generation.name, 9)
    assert files(scene) == NO_FILES


def server_info(scene) -> dict:
    curl = ["curl", "-sS", "--max-time", "2", "--unix-socket", "/run/hawser/proxy/f1e0.admin.sock"]
    return json.loads(scene.vm.run([*curl, "http://envoy/server_info"]).stdout)


def state(scene) -> dict:
    """Everything of the good generation that an attempt could change."""
    info = server_info(scene)

    def initializing() -> int:
        content = pathlib.Path("/dev/shm/envoy_shared_memory_41010").read_bytes()
        return content[INITIALIZING_AT] & INITIALIZING if len(content) == 104 else 0

    return {
        "generations": [(g.name, g.pid, g.running) for g in scene.observe().generations],
        "state": info["state"],
        "epoch": info["command_line_options"]["restart_epoch"],
        "initializing": scene.vm.call(initializing),
        "files": files(scene),
        "processes": scene.vm.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} | sort"]).stdout.split(),
    }


def pem(scene, name: str) -> tuple[str, str]:
    base = f"/run/lab/{name}"
    options = f"-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -days 1"
    scene.vm.run(["sh", "-c", f"openssl req -x509 {options} -keyout {base}.key -out {base}.crt 2>/dev/null"])
    return scene.vm.read(f"{base}.crt"), scene.vm.read(f"{base}.key")


def test_thirty_bad_bootstraps_change_nothing(scene, serving, record_property):
    certificate, key = pem(scene, "one")
    _, other_key = pem(scene, "another")
    cases = bad_bootstraps.make("f1e1", certificate, key, other_key)
    assert len(cases) >= 30
    before = state(scene)
    assert before["state"] == "LIVE" and before["epoch"] == 0 and not before["initializing"]
    for case in cases:
        if case.refused:
            with pytest.raises(Refused, match=case.refused):
                scene.ask("validate", generation="f1e1", bootstrap=case.content, args=ARGS)
        else:
            seen = scene.ask("validate", generation="f1e1", bootstrap=case.content, args=ARGS).validate
            said = " ".join(seen.detail.split())  # protobuf's texts have blanks where it likes
            assert not seen.valid and re.search(case.words, said), f"{case.name}: {said}"
        assert state(scene) == before, case.name
    record_property("bootstraps", len(cases))


def test_the_reason_is_told_however_long_the_bootstrap_is(scene, serving):
    """Envoy repeats all of it behind its reason."""
    metadata = {"padding": {"text": "x" * 400_000}}
    content = bootstrap("f1e1", admin="yes", node={"id": "a", "cluster": "b", "metadata": metadata})
    seen = scene.ask("validate", generation="f1e1", bootstrap=content, args=ARGS).validate
    assert not seen.valid and "envoy.config.bootstrap.v3.Admin" in " ".join(seen.detail.split()), seen.detail
    with pytest.raises(Refused, match="HWS-BR-016.*|512 KiB"):
        scene.ask("validate", generation="f1e1", bootstrap=content + b" " * 200_000, args=ARGS)


def install(scene, script: str) -> str:
    """A program that isn't Envoy; it isn't the current one."""

    def work() -> str:
        content = script.encode()
        digest = hashlib.sha256(content).hexdigest()
        os.makedirs(f"{STORE}/{digest}", mode=0o755)
        path = pathlib.Path(STORE, digest, "envoy")
        path.write_bytes(content)
        path.chmod(0o755)
        return digest

    return scene.vm.call(work)


VERSION = """#!/bin/sh
case " $* " in
*" --version "*) echo "x  version: 0/1.40.0/Clean/RELEASE/SSL"; exit 0;;
*" --hot-restart-version "*) echo 11.104 >&2; exit 0;;
esac
"""


@pytest.mark.parametrize(
    "deed, words",
    [
        ("exec sleep 60", "HWS-BR-026"),
        ("trap '' TERM; while :; do :; done", "HWS-BR-026"),
        # 4 GB, and a word when it got them
        ("exec python3 -c 'x = bytearray(4 << 30); print(\"had it\")'", "MemoryError"),
        ("kill -SEGV $$", ""),
        ("while :; do echo and so on; done", "HWS-BR-026"),
    ],
    ids=["hangs", "hangs and won't go", "eats memory", "crashes", "talks for ever"],
)
def test_a_program_that_cannot_look_at_it_is_not_started(scene, serving, deed, words):
    before = state(scene)
    binary = install(scene, VERSION + deed + "\n")
    begin = time.monotonic()
    try:
        seen = scene.ask("validate", generation="f1e1", bootstrap=bootstrap("f1e1"), args=ARGS, binary_sha256=binary)
        assert not seen.validate.valid and words in seen.validate.detail and "had it" not in seen.validate.detail, seen
    except Refused as refused:
        assert words and words in str(refused), refused
    assert time.monotonic() - begin < VALIDATE_WAIT_MS / 1000 + 10
    poll.until("nothing is left of it", lambda: state(scene) == before)


def test_and_the_next_good_one_takes_over(scene, serving):
    content = bootstrap("f1e1")
    assert scene.ask("validate", generation="f1e1", bootstrap=content, args=ARGS).validate.valid
    scene.ask("start", generation="f1e1", bootstrap=content, args=ARGS)
    poll.until("the next epoch is LIVE", lambda: live(scene, "f1e1"))
    first = scene.ask("reap", generation="f1e0", wait_ms=15_000).reap
    assert first.ended and first.exit_status == 0
    assert files(scene)[RUN] == ["f1e1.json"]

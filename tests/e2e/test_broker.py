# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Who may ask hawser-broker, and how it is started."""

from __future__ import annotations

import socket
import struct

import pytest

from lab import facts, hawser
from lab.broker_scene import nothing_left, scene  # noqa: F401 (fixtures)
from lab.broker_wire import SOCKET, Refused, exchange, message

KNOCK = (
    "import socket,struct\n"
    f"c=socket.socket(socket.AF_UNIX); c.settimeout(5); c.connect('{SOCKET}')\n"
    "try:\n"
    "  c.sendall(struct.pack('!I',2)+bytes([0x22,0])); print(len(c.recv(4096)) > 4)\n"  # observe
    "except (BrokenPipeError, ConnectionResetError): print(False)\n"
)


def _knock(scene, uid: int) -> str:
    # with hawserd's group, which the socket's mode lets in
    argv = ["/usr/bin/python3", "-I", "-c", KNOCK]
    return scene.vm.run(argv, uid=uid, gid=facts.GID_AGENT).stdout.strip()


def test_only_root_and_the_agent_are_served(scene):
    before = scene.observe().requests_refused
    assert _knock(scene, facts.UID_AGENT) == "True"
    assert _knock(scene, facts.UID_APP) == "False"
    assert _knock(scene, facts.UID_PROXY) == "False"
    assert scene.observe().requests_refused == before + 2


def test_others_cannot_even_connect(scene):
    done = scene.vm.run(["/usr/bin/python3", "-I", "-c", KNOCK], uid=facts.UID_APP, check=False)
    assert "PermissionError" in done.stderr


def test_frames_that_are_no_requests_are_closed(scene):
    for payload in (b"\xff\xff\xff\xff", b"\x00" * 64):
        assert scene.vm.call(exchange, SOCKET, payload, 5) is None

    def oversized() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(SOCKET)
            client.sendall(struct.pack("!I", 1 << 31))
            return client.recv(16)

    assert scene.vm.call(oversized) == b""
    with pytest.raises(Refused, match="HWS-BR-005"):
        call_empty(scene)


def call_empty(scene):
    answer = message("Response")
    answer.ParseFromString(scene.vm.call(exchange, SOCKET, b"", 5))
    raise Refused(answer.failure)


def test_a_second_broker_cannot_steal_the_socket(scene):
    options = ["--agent-user", str(facts.UID_AGENT), "--proxy-user", str(facts.UID_PROXY)]
    done = scene.vm.run(["hawser-broker", *options], check=False, caps=hawser.BROKER_CAPS)
    assert done.returncode == 69 and "HWS-RPC-004" in done.stderr
    assert scene.observe()


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (["--agent-user", "nobody-like-this"], 67, "HWS-BR-006"),
        (["--agent-user", "881", "--proxy-user", "0"], 67, "HWS-BR-006"),
        (["--launcher", "nonsense"], 64, "launcher"),
    ],
)
def test_a_bad_command_line_is_refused(scene, arguments, code, text):
    done = scene.vm.run(["hawser-broker", *arguments], check=False)
    assert done.returncode == code and text in done.stderr

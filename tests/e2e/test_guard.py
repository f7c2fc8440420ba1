# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What the broker finds on a host by itself and leaves alone: every SSH server, wherever it listens."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess

from lab import facts, layout
from lab.broker_scene import nothing_left, scene  # noqa: F401 (fixtures)

# Named sshd, and no more of one: answers as port_server does, and after "close" on its input listens no more.
SSHD = """
import ctypes, socket, sys, threading
ctypes.CDLL(None).prctl(15, b"sshd", 0, 0, 0)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", int(sys.argv[1])))
listener.listen()
kept = []
def serve():
    while True:
        kept.append(listener.accept()[0])
        kept[-1].sendall(b"%d\\n" % int(sys.argv[1]))
threading.Thread(target=serve, daemon=True).start()
print("up", flush=True)
sys.stdin.readline()
listener.shutdown(socket.SHUT_RDWR)
listener.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def sshd(scene, port: int):
    # Outside of a unit the broker can look at a process with no more capabilities than its own.
    argv = [layout.PYTHON, "-I", "-c", SSHD, str(port)]
    process = scene.vm.popen(argv, caps=(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        scene.vm.stop(process, sig=signal.SIGKILL)


def test_two_sshd_stay_reachable_though_no_file_names_them(scene):
    with sshd(scene, 2022), sshd(scene, 2023):
        scene.plan()
        answers = scene.reached((facts.VM_IP, 2022), (facts.VM_IP, 2023), (facts.VM_IP, 80), host=scene.peer)
        assert answers == ["2022", "2023", "15006"]
    scene.plan()
    assert scene.reached((facts.VM_IP, 80), host=scene.peer) == ["15006"]


def test_a_live_session_keeps_its_port_when_its_server_has_moved(scene):
    def connect() -> socket.socket:
        return socket.create_connection((facts.VM_IP, 2024), timeout=5)

    with sshd(scene, 2024) as server, scene.peer.call(connect) as session:
        assert session.recv(16) == b"2024\n"
        server.stdin.write("close\n")
        server.stdin.flush()
        assert server.stdout.readline() == "closed\n"
        scene.plan()
        rules = scene.ruleset()
        assert "2024" in rules, rules


def test_sshd_config_is_read_with_what_it_includes(scene):
    scene.vm.run(["rm", "-rf", "/etc/ssh"])
    scene.vm.write("/etc/ssh/sshd_config", "Include more/*.conf\n")
    scene.vm.write("/etc/ssh/more/a.conf", "Include /etc/ssh/deep\n")
    scene.vm.write("/etc/ssh/deep", "Port 2200\n")
    scene.plan()
    assert scene.reached((facts.VM_IP, 2200), (facts.VM_IP, 80), host=scene.peer) == ["2200", "15006"]
    scene.vm.run(["rm", "-r", "/etc/ssh"])


def test_root_may_be_exempt_and_the_rules_are_probed_all_the_same(scene):
    done = scene.plan(exempt_uids=[facts.UID_AGENT, facts.UID_PROXY, 0])
    assert {p.name for p in done.probes if p.passed} >= {"out4", "out6"}, done
    assert scene.reached((facts.OUTSIDE_IP, 80), uid=0) == ["80"]
    assert scene.reached((facts.OUTSIDE_IP, 80)) == ["15001"]

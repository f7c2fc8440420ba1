# SPDX-License-Identifier: Apache-2.0
"""What bad input and a broken host get: one line with cause, fix and id, the right exit code, and nothing half-done."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import pathlib
import shutil
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab import facts, layout, poll
from lab.hawser import AGENT, CONFIG, HawserHost

OK, DATAERR, NOINPUT, UNAVAILABLE, TEMPFAIL, NOPERM, BADCONFIG = 0, 65, 66, 69, 75, 77, 78
_numbers = itertools.count(40)


@pytest.fixture
def vm(world):
    """A host of its own for each test; neither program runs yet."""
    number = next(_numbers)
    host = world.lab.add_host(f"bad{number}", f"10.77.0.{number}", f"fd77::{number}")
    try:
        yield HawserHost(host)
    finally:
        host.close()
        del world.lab.hosts[host.name]


@pytest.fixture
def bundle(world, tmp_path) -> pathlib.Path:
    """A copy to spoil."""
    copy = tmp_path / "bundle"
    shutil.copytree(world.bundle, copy)
    return copy


def started(vm: HawserHost, envoy: bool = True) -> HawserHost:
    vm.start()
    if envoy:
        vm.install_envoy()
    return vm


def problem(vm: HawserHost, error_id: str) -> dict:
    """The status item that reports this error."""

    def reported():
        return next((i for i in vm.status()["items"] if i.get("id") == error_id), None)

    item = poll.until(f"status reports {error_id}", reported, timeout=20)
    assert item["fix"], item
    return item


def assert_nothing_intercepted(vm: HawserHost) -> None:
    assert "hawser" not in vm.host.run(["nft", "list", "ruleset"]).stdout
    reached = [e["name"] for e in vm.status()["events"]]
    assert "INTERCEPTING" not in reached, reached


def assert_not_joined(vm: HawserHost) -> None:
    assert not vm.host.exists("/etc/hawser/conf.d/50-join.yaml")
    assert vm.status()["state"] == "not_joined"


def one_line(text: str, error_id: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("hawser: warning:")]
    assert len(lines) == 1, text
    assert error_id in lines[0] and "fix:" in lines[0], lines[0]
    return lines[0]


# -- before anything runs --------------------------------------------------------------------------------------


def test_malformed_yaml_is_placed_and_nothing_starts(vm):
    vm.host.write("/etc/hawser/hawser.yaml", CONFIG + "log: {levle: debug}\n")
    checked = vm.cli("config", "check", check=False)
    assert checked.returncode == BADCONFIG
    line = one_line(checked.stderr, "HWS-CF-003")
    assert "/etc/hawser/hawser.yaml:2:7:" in line and "did you mean 'level'" in line
    daemon = vm.host.run([f"{layout.BIN_IN_HOST}/hawserd"], uid=AGENT, check=False)
    assert daemon.returncode == BADCONFIG
    assert "/etc/hawser/hawser.yaml:2:7:" in daemon.stderr
    assert not vm.host.exists("/run/hawser/admin.sock")


def test_yaml_that_is_none_is_placed(vm):
    vm.host.write("/etc/hawser/hawser.yaml", "users: {agent: 881\nlog: {}\n")
    checked = vm.cli("config", "check", check=False)
    assert checked.returncode == BADCONFIG
    assert "/etc/hawser/hawser.yaml:2:" in one_line(checked.stderr, "HWS-CF-002")


def test_a_daemon_that_is_not_there_is_named(vm):
    status = vm.cli("status", check=False)
    assert status.returncode == UNAVAILABLE
    assert "hawserd isn't running" in one_line(status.stderr, "HWS-RPC-002")


def test_an_unknown_verb_is_a_usage_error(vm):
    assert vm.cli("joyn", check=False).returncode == 64
    patient = vm.cli("wait", "--timeout", "30d", check=False)
    assert (patient.returncode, patient.stderr.strip()) == (64, "hawser: warning: --timeout: '30d' is over 24h"), patient


# -- join refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["root-cert.pem", "istio-token", "cluster.env", "mesh.yaml", "hosts"])
def test_a_missing_file_of_the_bundle_is_named(vm, bundle, name):
    started(vm, envoy=False)
    (bundle / name).unlink()
    refused = vm.join(bundle, check=False)
    assert refused.returncode == NOINPUT, refused.stderr
    assert name in one_line(refused.stderr, "HWS-ON-")
    assert_not_joined(vm)


def test_broken_mesh_yaml_is_placed(vm, bundle):
    started(vm, envoy=False)
    (bundle / "mesh.yaml").write_text("defaultConfig:\n  discoveryAddress: [\n")
    refused = vm.join(bundle, check=False)
    assert refused.returncode != OK
    assert "mesh.yaml:" in one_line(refused.stderr, "HWS-ON-")
    assert_not_joined(vm)


def test_a_bad_override_is_refused_whole(vm, bundle):
    started(vm, envoy=False)
    refused = vm.join(bundle, "identity.ttl=1s", check=False)
    assert refused.returncode == BADCONFIG
    assert "under 30s" in one_line(refused.stderr, "HWS-CF-004")
    assert_not_joined(vm)


def test_without_root_nothing_is_changed(vm, bundle):
    started(vm, envoy=False)
    for file in bundle.iterdir():
        file.chmod(0o644)
    refused = vm.cli("join", bundle, check=False, uid=facts.UID_APP)
    assert refused.returncode == NOPERM
    one_line(refused.stderr, "HWS-CLI-001")
    assert_not_joined(vm)


def test_only_admins_may_change_but_all_may_look(vm):
    started(vm, envoy=False)
    assert vm.cli("status", check=False, uid=facts.UID_APP).returncode == OK
    refused = vm.cli("cert", "renew", check=False, uid=facts.UID_APP)
    assert refused.returncode == NOPERM
    one_line(refused.stderr, "HWS-AD-001")


def test_an_expired_token_is_told_before_it_is_sent(vm, bundle):
    started(vm, envoy=False)
    head, payload, signature = (bundle / "istio-token").read_text().strip().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["exp"] = 1_700_000_000
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    (bundle / "istio-token").write_text(f"{head}.{payload}.{signature}")
    refused = vm.join(bundle, check=False)
    assert refused.returncode == NOPERM, refused.stderr
    line = one_line(refused.stderr, "HWS-")
    assert "expired" in line and "2023-11-14" in line
    assert_not_joined(vm)


def test_a_token_that_others_can_read_is_fixed_and_reported(vm, bundle, world):
    started(vm)
    (bundle / "istio-token").chmod(0o644)
    joined = vm.join(bundle)
    assert "warning" in joined.stderr and "0600" in joined.stderr
    assert (bundle / "istio-token").stat().st_mode & 0o777 == 0o600
    vm.wait()
    files = vm.host.run(["find", "/var/lib/hawser/identity", "-type", "f", "-printf", "%m %u\n"]).stdout.splitlines()
    assert files and set(files) == {f"600 {AGENT}"}, files
    vm.leave()


def test_without_a_proxy_nothing_is_led_to_it(vm, bundle):
    started(vm, envoy=False)
    vm.join(bundle)
    for words in (["apply"], ["try", "--revert-after", "30s"]):
        refused = vm.cli("intercept", *words, check=False)
        assert refused.returncode == BADCONFIG, refused
        assert "no proxy to lead traffic to" in one_line(refused.stderr, "HWS-IC-005")
    assert_nothing_intercepted(vm)


# -- the host or the plane isn't as it should be: it says so, keeps trying, and touches nothing --------------------


def test_a_wrong_root_is_named(vm, bundle):
    started(vm)
    (bundle / "root-cert.pem").write_text(_foreign_root())
    vm.join(bundle)
    assert "root" in problem(vm, "HWS-CA-001")["detail"]
    assert_nothing_intercepted(vm)


def test_a_server_name_that_does_not_match_is_named(vm, bundle):
    started(vm)
    mesh = bundle / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace(facts.PLANE_NAME, "other.example"))
    hosts = bundle / "hosts"
    hosts.write_text(hosts.read_text().replace(facts.PLANE_NAME, "other.example"))
    vm.join(bundle)
    assert "other.example" in problem(vm, "HWS-CA-002")["detail"]
    assert_nothing_intercepted(vm)


def test_an_unreachable_control_plane_is_tried_for_ever(vm, bundle, world):
    started(vm)
    hosts = bundle / "hosts"
    hosts.write_text(hosts.read_text().replace(facts.MESH_IP, "10.77.0.250"))
    vm.join(bundle)
    first = problem(vm, "HWS-CA-003")
    assert "10.77.0.250" in first["detail"] or "reach" in first["detail"], first
    assert_nothing_intercepted(vm)
    assert vm.agent.poll() is None
    # the host works as if Hawser weren't there
    assert vm.host.tcp(facts.OUTSIDE_IP, 22)


def test_a_taken_port_is_named(vm, bundle):
    started(vm)
    program = "import socket,time\ns=socket.create_server(('0.0.0.0',15001))\nprint('up',flush=True)\ntime.sleep(600)"
    squatter = vm.host.popen([sys.executable, "-c", program], uid=facts.UID_APP, log="squatter.log")
    poll.until("the squatter listens", lambda: vm.host.tcp("127.0.0.1", 15001))
    vm.join(bundle)
    assert "15001" in problem(vm, "HWS-PF-001")["detail"]
    assert_nothing_intercepted(vm)
    vm.host.stop(squatter)
    vm.wait()  # it recovers by itself
    vm.leave()


def test_a_missing_envoy_is_named_and_picked_up_when_it_comes(vm, bundle):
    started(vm, envoy=False)
    vm.join(bundle)
    assert "hawser proxy install" in problem(vm, "HWS-BR-030")["fix"]
    assert_nothing_intercepted(vm)
    vm.install_envoy()
    vm.wait()
    vm.leave()


def test_a_missing_broker_is_named(vm, bundle):
    vm.start_agent()
    vm.join(bundle)
    assert "broker" in problem(vm, "HWS-BR-001")["detail"]


def test_a_second_hawserd_is_refused(vm):
    started(vm, envoy=False)
    second = vm.host.run([f"{layout.BIN_IN_HOST}/hawserd"], uid=AGENT, check=False)
    assert second.returncode == TEMPFAIL
    assert "another" in second.stderr and "HWS-" in second.stderr
    assert vm.status()["state"] == "not_joined"  # the first one is unharmed


def _foreign_root() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "elsewhere")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return cert.public_bytes(serialization.Encoding.PEM).decode()

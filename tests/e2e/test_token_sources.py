# SPDX-License-Identifier: Apache-2.0
"""A host that joins without a bundle, by each source of tokens; its failures; and back after everything has expired."""

from __future__ import annotations

import datetime
import json
import pathlib
import time

import pytest
import yaml

from lab import facts, poll, services

pytestmark = pytest.mark.incremental
WHERE = "/run/lab/tokens"  # of what hands them out
METADATA, KUBE = "127.0.0.1:8181", "127.0.0.1:6443"
ENV = {"GCE_METADATA_HOST": METADATA}
BEARER = "kube-bearer-s3cret"
IDENTITY = ("--name", "vm-app", "--group", facts.VM_GROUP, "--namespace", facts.NAMESPACE, "--service-account", facts.VM_SA)


def mint(world, ttl: float = 3600, **more: str) -> str:
    return world.plane.token(ttl, **more)


def give(world, token: str) -> str:
    """What is handed out from now on."""
    world.host.write(f"{WHERE}/token", token, 0o600, facts.UID_APP, facts.GID_APP)
    SECRETS.append(token)
    return token


SECRETS = [BEARER]


def fault(world, **how) -> None:
    world.host.write(f"{WHERE}/fault", json.dumps(how) if how else "", 0o644, facts.UID_APP, facts.GID_APP)


def asked(world) -> list[dict]:
    path = f"{WHERE}/asked"
    return [json.loads(line) for line in world.host.read(path).splitlines()] if world.host.exists(path) else []


def join(world, *flags: str, check: bool = True, **run):
    base = ("join", "--ca", f"{facts.PLANE_NAME}:{facts.PLANE_PORT}", "--root", world.bundle / "root-cert.pem")
    return world.vm.cli(*base, *IDENTITY, "--set", "identity.ttl=30s", "--set", "log.level=debug", *flags, check=check, **run)


def await_told(world, id: str) -> None:
    """Without a token a join waits up to 5 s, as a start does, so that a fleet doesn't come at once."""
    poll.until(f"{id} is told", lambda: any(item.get("id") == id for item in world.vm.status()["items"]), 20)


def restart(world) -> None:
    world.vm.stop_agent()
    world.vm.start_agent(env=ENV)


def leave(world) -> None:
    world.vm.leave()
    assert not world.host.exists("/etc/hawser/conf.d/50-join.yaml")


def off_past_expiry(world) -> None:
    """Until neither the certificate nor the token that it was got with is good."""
    world.vm.wait("REGISTERED")
    ends = datetime.datetime.fromisoformat(world.vm.cert()["not_after"].replace("Z", "+00:00"))
    world.vm.stop_agent()
    # the token, of 20 s, was made before the certificate, of 30 s
    poll.until("the certificate ends", lambda: datetime.datetime.now(datetime.timezone.utc) > ends, 40, every=0.2)


@pytest.fixture(scope="module", autouse=True)
def sources(world):
    world.host.mkdir(WHERE, 0o755, facts.UID_APP, facts.GID_APP)
    world.host.add_name(facts.MESH_IP, facts.PLANE_NAME)
    leaf = world.plane.authority().issue(86400, dns="kube.example")
    for name, text in {"kube.pem": leaf.chain, "kube.key": leaf.key, "bearer": BEARER}.items():
        world.host.write(f"{WHERE}/{name}", text, 0o600, facts.UID_APP, facts.GID_APP)
    give(world, mint(world))
    started = [
        world.host.popen(services.program("token_server", WHERE, METADATA), log="metadata.log", **services.AS_APP),
        world.host.popen(
            services.program("token_server", WHERE, KUBE, f"{WHERE}/kube.pem", f"{WHERE}/kube.key"),
            log="kube.log", **services.AS_APP,
        ),
    ]  # fmt: skip
    for where in (METADATA, KUBE):
        address, port = where.split(":")
        poll.until(f"somebody listens on {where}", lambda a=address, p=port: world.host.tcp(a, int(p)))
    restart(world)
    yield
    for process in started:
        world.host.stop(process)


@pytest.mark.parametrize(
    ("flags", "id", "exit"),
    [
        ((), "HWS-CLI-013", 78),
        (("--token-file", "/nonexistent"), "HWS-CLI-015", 66),
        (("--token-source", "gce", "--token-file", f"{WHERE}/token"), "HWS-CLI-014", 65),
        (("--token-source", "nobody"), "HWS-CF-004", 78),
        (("--control-plane", "no-port"), "HWS-CLI-017", 65),
        (("--root", "/etc/hostname"), "HWS-CLI-016", 65),
        (("--token-file", "/dev/null"), "HWS-CLI-015", 65),
        (("--token-source", "kubernetes"), "HWS-CF-005", 78),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_leaves_nothing(world, flags, id, exit):
    words = list(flags)
    if "--root" in words:
        flags = tuple(words)
        done = world.vm.cli("join", "--ca", "a:1", *flags, check=False)
    else:
        done = join(world, *flags, check=False)
    assert id in done.stderr and done.returncode == exit and len(done.stderr.strip().splitlines()) == 1, done
    assert "(fix: " in done.stderr
    assert not world.host.exists("/etc/hawser/conf.d/50-join.yaml")
    assert not world.host.exists("/var/lib/hawser/identity/token")


def test_a_bundle_and_flags_exclude_each_other(world):
    for words in ((world.bundle, "--ca", "a:1"), ()):
        done = world.vm.cli("join", *words, check=False)
        assert "HWS-CLI-012" in done.stderr and done.returncode == 65, done


def test_joins_by_a_token_on_standard_input(world):
    token = give(world, mint(world))
    join(world, "--token-file", "-", input=token + "\n")
    world.vm.wait("REGISTERED")
    assert world.vm.status()["identity"]["spiffe_id"] == facts.spiffe(facts.VM_SA)
    assert token not in world.host.read("/etc/hawser/conf.d/50-join.yaml")
    leave(world)
    assert not world.host.exists("/var/lib/hawser/identity/token")


def test_a_token_in_memory_is_kept_for_the_next_boot(world):
    token = give(world, mint(world))
    world.host.write("/run/secrets-of-us/istio-token", token, 0o600, facts.UID_AGENT, facts.GID_AGENT)
    join(world, "--set", "identity.token.path=/run/secrets-of-us/istio-token")
    world.vm.wait("IDENTITY_READY")
    assert world.host.read("/var/lib/hawser/identity/token") == token
    leave(world)


GCE_FAULTS = [
    ({"no_flavor": True}, "HWS-ID-034"),
    ({"status": 404, "body": ""}, "HWS-ID-035"),
    ({"status": 403, "body": ""}, "HWS-ID-035"),
    ({"status": 302, "headers": {"Location": "http://127.0.0.1:8181/elsewhere"}}, "HWS-ID-036"),
    ({"status": 503, "body": ""}, "HWS-ID-036"),
    ({"body": "x" * 100_000}, "HWS-ID-033"),
    ({"body": "<html>"}, "HWS-ID-037"),
    ({"hang": 3}, "HWS-ID-033"),
]


@pytest.mark.parametrize(("how", "id"), GCE_FAULTS)
def test_a_metadata_server_that_fails_is_told_with_its_id(world, how, id):
    fault(world, **how)
    join(world, "--token-source", "gce", "--set", "identity.token.timeout=1s")
    await_told(world, id)
    assert not any("/elsewhere" in line["path"] for line in asked(world)), "a redirect was followed"
    leave(world)
    fault(world)


def test_a_token_for_somebody_else_is_refused(world):
    give(world, mint(world, audience="other"))
    join(world, "--token-source", "gce")
    await_told(world, "HWS-ID-037")
    give(world, mint(world))
    leave(world)


def test_ends_at_once_while_a_metadata_server_is_mute(world):
    fault(world, hang=20)
    before = len(asked(world))
    join(world, "--token-source", "gce")
    poll.until("it was asked", lambda: len(asked(world)) > before, 20)
    begin = time.monotonic()
    world.vm.stop_agent(timeout=8)
    assert time.monotonic() - begin < 5
    fault(world)
    world.vm.start_agent(env=ENV)
    world.vm.wait("IDENTITY_READY")
    leave(world)


def test_joins_by_gce_and_is_back_after_all_has_expired(world):
    give(world, mint(world, ttl=20))
    join(world, "--token-source", "gce")
    off_past_expiry(world)
    give(world, mint(world))
    world.vm.start_agent(env=ENV)
    world.vm.wait("REGISTERED", timeout=30)
    first = asked(world)[0]
    assert first["path"].endswith("/identity?audience=istio-ca&format=full")
    leave(world)


def test_joins_by_a_command_and_is_back_after_all_has_expired(world):
    script = f"#!/bin/sh\n[ \"$HAWSER_AUDIENCE\" = istio-ca ] || exit 3\nexec cat {WHERE}/for-command\n"
    world.host.write("/run/lab/tokens/command", script, 0o755)
    world.host.write(f"{WHERE}/for-command", give(world, mint(world, ttl=20)), 0o600, facts.UID_AGENT, facts.GID_AGENT)
    join(world, "--token-source", "exec", "--set", "identity.token.command=[/run/lab/tokens/command]")
    off_past_expiry(world)
    world.host.write(f"{WHERE}/for-command", give(world, mint(world)), 0o600, facts.UID_AGENT, facts.GID_AGENT)
    world.vm.start_agent(env=ENV)
    world.vm.wait("REGISTERED", timeout=30)
    leave(world)


def kubeconfig(world, **cluster) -> None:
    made = {
        "apiVersion": "v1", "kind": "Config", "current-context": "vm",
        "contexts": [{"name": "vm", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"https://{KUBE}", "tls-server-name": "kube.example",
                                               "certificate-authority": "root.pem", **cluster}}],
        "users": [{"name": "u", "user": {"token": BEARER}}],
    }  # fmt: skip
    for name, text in {"config": yaml.safe_dump(made), "root.pem": world.plane.authority().roots_pem}.items():
        world.host.write(f"/etc/hawser/kube/{name}", text, 0o600, facts.UID_AGENT, facts.GID_AGENT)


def test_joins_by_kubernetes_and_is_back_after_all_has_expired(world):
    kubeconfig(world)
    give(world, mint(world, ttl=20))
    flags = ("--token-source", "kubernetes", "--set", "identity.token.kubeconfig=/etc/hawser/kube/config")
    join(world, *flags)
    off_past_expiry(world)
    give(world, mint(world))
    world.vm.start_agent(env=ENV)
    world.vm.wait("REGISTERED", timeout=30)
    last = [line for line in asked(world) if line["method"] == "POST"][-1]
    assert last["path"] == f"/api/v1/namespaces/{facts.NAMESPACE}/serviceaccounts/{facts.VM_SA}/token"
    assert json.loads(last["body"])["spec"]["audiences"] == ["istio-ca"]
    leave(world)


@pytest.mark.parametrize(
    ("cluster", "id"),
    [
        ({"tls-server-name": "other.example"}, "HWS-ID-044"),
        ({"insecure-skip-tls-verify": True}, "HWS-ID-041"),
        ({"server": "https://127.0.0.1:1"}, "HWS-ID-044"),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_leads_nowhere_safe_is_told(world, cluster, id):
    kubeconfig(world, **cluster)
    join(world, "--token-source", "kubernetes", "--set", "identity.token.kubeconfig=/etc/hawser/kube/config")
    await_told(world, id)
    leave(world)


def test_a_credential_of_systemd(world):
    world.host.write("/run/credentials/hawser-token", give(world, mint(world)), 0o400, facts.UID_AGENT, facts.GID_AGENT)
    world.vm.stop_agent()
    world.vm.start_agent(env={**ENV, "CREDENTIALS_DIRECTORY": "/run/credentials"})
    join(world, "--token-source", "credential")
    world.vm.wait("IDENTITY_READY")


def test_nothing_that_can_be_replayed_was_told(world):
    """After all of the above: in no log, no argument, no status."""
    words = [pathlib.Path(path).read_bytes() for path in world.host.log_dir.iterdir() if path.is_file()]
    words.append(world.vm.cli("status", "--json", check=False).stdout.encode())
    words.append(world.host.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"], check=False).stdout.encode())
    for secret in SECRETS:
        # its claims alone can't be replayed; the signature makes it a token
        part = secret.rsplit(".", 1)[-1].encode()
        assert not any(part in text for text in words)

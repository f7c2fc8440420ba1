# SPDX-License-Identifier: Apache-2.0
"""`python -m devmesh`: its verbs, and how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import subprocess
import sys

from devmesh import view_client
from devmesh.tokens import TokenIssuer
from lab import poll

_TESTS = pathlib.Path(__file__).resolve().parents[1]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_TESTS), "PYTHONDONTWRITEBYTECODE": "1"}


def command(file: pathlib.Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "devmesh", "--config", str(file), *arguments]


def run(file: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(file, *arguments), env=_ENVIRONMENT, capture_output=True, text=True, timeout=20)


def test_bundle_token_and_certificate_are_of_the_same_state(mesh_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert run(mesh_file, "bundle", str(tmp_path / "bundle")).returncode == 0
    token = run(mesh_file, "token", "reviews", "--namespace", "demo", "--ttl", "1m").stdout.strip()
    assert TokenIssuer(mesh_file.parent / "state").verify(token) == ("demo", "reviews")
    issued = json.loads(run(mesh_file, "issue", "reviews", "--namespace", "demo").stdout)
    assert issued["roots"] == (tmp_path / "bundle" / "root-cert.pem").read_text()
    assert run(mesh_file, "issue", "reviews", "--directory", str(tmp_path / "pair")).returncode == 0
    assert stat.S_IMODE((tmp_path / "pair" / "key.pem").stat().st_mode) == 0o600


def test_serve_runs_until_it_is_told_to_end(mesh_file: pathlib.Path) -> None:
    process = subprocess.Popen(command(mesh_file, "serve"), env=_ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    try:
        view = mesh_file.parent / "state" / "view.sock"
        poll.until("ready", lambda: view_client.request(view, "GET", "/healthz")[0] == 200)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait(5)
    assert process.returncode == 0 and "serving istiod.istio-system.svc" in said and "Traceback" not in said


def test_a_wrong_file_is_one_line_and_a_status(mesh_file: pathlib.Path) -> None:
    mesh_file.write_text("mesh: {mtls: SOMETIMES}\n")
    done = run(mesh_file, "serve")
    assert done.returncode == os.EX_CONFIG and done.stderr.count("\n") == 1 and "SOMETIMES" in done.stderr

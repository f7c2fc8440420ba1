# SPDX-License-Identifier: Apache-2.0
"""What .ci/run does with the time it has."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
ANY_TEST = "devmesh/test_ca.py::test_a_token_gets_its_own_identity_whatever_the_csr_says"

# Says what it was asked for; what a test wants of it is in its environment.
DEV = """#!/usr/bin/env bash
echo "$* ${HAWSER_TESTS_UNTIL:-unlimited}" >>calls
case "$*" in
  "$HANGS") [ -z "${FIRST:-}" ] || : >"$HAWSER_TESTS_FAILED"; trap '' INT; while :; do sleep 0.05; done ;;
  "$FAILS") exit "$STATUS" ;;
esac
"""


def run(folder: pathlib.Path, **environment: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    (folder / ".ci").mkdir()
    shutil.copy(REPO / ".ci" / "run", folder / ".ci" / "run")
    dev = folder / "dev"
    dev.write_text(DEV)
    dev.chmod(0o755)
    env = {**os.environ, "HANGS": "nothing", "FAILS": "nothing", "STATUS": "3", **environment}
    done = subprocess.run([folder / ".ci" / "run"], env=env, capture_output=True, text=True, timeout=60, check=False)
    return done, (folder / "calls").read_text().splitlines()


def suites(calls: list[str]) -> list[str]:
    return [call.rsplit(" ", 1)[0] for call in calls]


def test_all_suites_run_and_the_long_ones_know_their_end(tmp_path: pathlib.Path) -> None:
    done, calls = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert suites(calls) == ["test", "test interop", "test system"]
    assert calls[0] == "test unlimited" and all(call.rsplit(" ", 1)[1].isdigit() for call in calls[1:])


def test_without_time_the_long_ones_are_left_out_and_named(tmp_path: pathlib.Path) -> None:
    done, calls = run(tmp_path, HAWSER_CI_SECONDS="5")
    assert done.returncode == 0 and suites(calls) == ["test"]
    assert "left out: ./dev test interop" in done.stderr and "left out: ./dev test system" in done.stderr


@pytest.mark.parametrize("suite", ["test", "test interop", "test system"])
def test_a_failure_is_one(tmp_path: pathlib.Path, suite: str) -> None:
    done, calls = run(tmp_path, FAILS=suite)
    assert done.returncode == 3 and suites(calls)[-1] == suite


@pytest.mark.parametrize("status", ["124", "137"])
def test_one_that_is_killed_before_its_time_has_failed(tmp_path: pathlib.Path, status: str) -> None:
    done, _ = run(tmp_path, FAILS="test interop", STATUS=status)
    assert done.returncode == int(status) and "cut off" not in done.stderr


SHORT = {
    "HAWSER_CI_SECONDS": "2",
    "HAWSER_CI_LEAST_SECONDS": "1",
    "HAWSER_CI_GRACE_SECONDS": "0",
    "HAWSER_CI_KILL_SECONDS": "0.1",
}


def test_a_suite_that_doesnt_come_to_its_end_is_cut_off_and_named(tmp_path: pathlib.Path) -> None:
    done, calls = run(tmp_path, HANGS="test interop", **SHORT)
    assert done.returncode == 0 and "cut off: ./dev test interop" in done.stderr
    assert suites(calls)[:2] == ["test", "test interop"]


def test_one_that_failed_before_it_was_cut_off_has_failed(tmp_path: pathlib.Path) -> None:
    done, calls = run(tmp_path, HANGS="test interop", FIRST="a test fails", **SHORT)
    assert done.returncode == 1 and suites(calls)[-1] == "test interop"


@pytest.mark.parametrize("body", ["assert False", "pass"])
def test_what_fails_leaves_a_mark(tmp_path: pathlib.Path, body: str) -> None:
    (tmp_path / "conftest.py").write_text((REPO / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {body}\n")
    mark = tmp_path / "failed"
    env = {**os.environ, "HAWSER_TESTS_FAILED": str(mark)}
    subprocess.run([sys.executable, "-m", "pytest", tmp_path], env=env, capture_output=True, timeout=60, check=False)
    assert mark.exists() == (body != "pass")


def pytest_on_one(until: str) -> str:
    argv = [sys.executable, "-m", "pytest", "-c", REPO / "tests" / "pytest.ini", REPO / "tests" / ANY_TEST]
    env = {**os.environ, "HAWSER_TESTS_UNTIL": until}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False).stdout


def test_no_test_begins_after_the_end() -> None:
    late, early = pytest_on_one("1"), pytest_on_one("99999999999")
    assert "no time left" in late and "1 skipped" in late and " passed" not in late
    assert "1 passed" in early

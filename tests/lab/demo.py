# SPDX-License-Identifier: Apache-2.0
"""The demo: `python -m lab.demo [--plane devmesh|istiod] [--keep] [--clean]`, run as root in the folder tests."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import traceback
import typing

from lab import facts, layout, network, planes, steps
from lab.world import World

HOME = layout.REPO / ".cache" / "demo"
STATE = HOME / "state.json"
LOGS = HOME / "logs"
END_TIMEOUT = 20.0


class Printer:
    """Plain text; colour only on a terminal, and not if NO_COLOR is set."""

    WIDTH = 50

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text

    def title(self, text: str) -> None:
        print(self._paint("1", text), flush=True)

    def progress(self, text: str) -> None:
        print(f"   … {text}", flush=True)

    def step(self, number: int, text: str) -> None:
        print(f"\n{self._paint('1', f'{number}. {text}')}", flush=True)

    def figures(self, figures: steps.Figures) -> None:
        for what, figure in figures:
            print(f"   {what:<{self.WIDTH}} {self._paint('36', figure)}", flush=True)

    def good(self, text: str) -> None:
        print(f"\n{self._paint('32', text)}", flush=True)

    def bad(self, text: str) -> None:
        first, *rest = text.splitlines() or [""]
        print("\n".join([f"\n{self._paint('31', 'FAILED: ' + first)}", *(f"   {line}" for line in rest)]), flush=True)


def show(plane_name: str, printer: Printer, keep: typing.Callable[[World, Printer], None] | None = None) -> int:
    """All steps; with `keep` all but the leave, and then `keep` holds the scene."""
    begin, doing, world = time.monotonic(), "set-up", None
    printer.title(f"Hawser demo: a virtual machine joins a mesh (control plane: {plane_name})")
    with contextlib.ExitStack() as stack:
        try:
            world = World(planes.make_plane(plane_name), logs=LOGS, say=printer.progress)
            stack.enter_context(world)
            printer.progress(f"ready in {time.monotonic() - begin:.1f} s")
            todo = steps.STEPS[:-1] if keep else steps.STEPS
            for number, (title, step) in enumerate(todo, 1):
                doing = f"step {number} ({title})"
                printer.step(number, title)
                printer.figures(step(world))
        except Exception as error:  # noqa: BLE001, whatever it is becomes one clear line
            if world is not None:
                world.keep_logs()
            LOGS.mkdir(parents=True, exist_ok=True)
            (LOGS / "traceback.txt").write_text(traceback.format_exc())
            printer.bad(f"{doing}: {error or type(error).__name__}\nLogs of all programs: {LOGS}")
            return 1
        printer.good(f"{len(todo)} steps passed in {time.monotonic() - begin:.1f} s.")
        if keep:
            keep(world, printer)
    return 0


# -- kept in the background ------------------------------------------------------------------------------------


def hold(world: World, printer: Printer) -> None:
    """Tells how to look around, leaves the terminal, and waits for `--clean`."""
    for probe in world.ssh_probes:
        probe.stop()  # their logs would grow for as long as this stays
    state = {
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "plane": world.plane.name,
        "hosts": {name: host.pid for name, host in world.lab.hosts.items()},
        "logs": str(world.lab.log_dir),
    }
    HOME.mkdir(parents=True, exist_ok=True)
    temporary = STATE.with_suffix(".new")
    temporary.write_text(json.dumps(state, indent=1) + "\n")
    temporary.replace(STATE)
    try:
        _how_to_look(state)
        sys.stdout.flush()
        with open(os.devnull, "r+b") as null:
            for descriptor in (0, 1, 2):  # the one who waits for our output now sees its end
                os.dup2(null.fileno(), descriptor)
        while True:
            signal.pause()
    finally:
        STATE.unlink(missing_ok=True)


def _how_to_look(state: dict[str, typing.Any]) -> None:
    vm, mesh = (f"nsenter -t {state['hosts'][name]} -n -m -p" for name in ("vm", "mesh"))
    print(
        f"""
It goes on running. As root:
   {vm} {layout.BIN_IN_HOST}/hawser status
   {vm} {layout.BIN_IN_HOST}/hawser intercept show
   {vm} {layout.BIN_IN_HOST}/hawser cert show
   {vm} nft list ruleset
   {vm} setpriv --reuid {facts.UID_APP} --regid {facts.GID_APP} --clear-groups curl -s http://{facts.REVIEWS_HOST}/
   {mesh} curl -s http://127.0.0.1:7001/      reviews calls the VM by mTLS
   {vm} bash      a shell in the VM; `mesh` and `outside` likewise, by the pids in {STATE}
   less {state['logs']}/*/*.log
./dev demo --clean removes it."""
    )


def keep_in_background(plane_name: str, colour: bool) -> int:
    """A process of its own session holds the scene; this one shows its output until the steps are done."""
    state = _running()
    if state:
        print(f"A demo is being kept already (process {state['pid']}). ./dev demo --clean removes it.", file=sys.stderr)
        return 75
    argv = [sys.executable, "-m", "lab.demo", "--plane", plane_name, "--hold", *(["--colour"] if colour else [])]
    holder = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        cwd=layout.REPO / "tests",
    )  # fmt: skip
    try:
        for line in holder.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except BaseException:
        _end(holder.pid, holder.poll)
        raise
    with contextlib.suppress(subprocess.TimeoutExpired):
        return holder.wait(0.2 if _running() else END_TIMEOUT)
    return 0


def clean(printer: Printer) -> int:
    state = _running()
    if state is None:
        STATE.unlink(missing_ok=True)
        print("No demo is being kept.")
        return 0
    # its process, not its file: the file goes first, and the scene takes a moment
    _end(state["pid"], lambda: None if _alive(state) else 0)
    STATE.unlink(missing_ok=True)
    printer.good("The demo is removed.")
    return 0


def _end(pid: int, ended: typing.Callable[[], int | None]) -> None:
    """SIGTERM, then SIGKILL: the kernel removes all namespaces and their processes with the holder."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + END_TIMEOUT
        while time.monotonic() < deadline:
            if ended() is not None:
                return
            time.sleep(0.05)


def _start_time(pid: int) -> str:
    """Tells a process from a later one with the same id."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _running() -> dict[str, typing.Any] | None:
    try:
        state = json.loads(STATE.read_text())
        return state if _alive(state) else None
    except (OSError, ValueError, KeyError):
        return None


def _alive(state: dict[str, typing.Any]) -> bool:
    try:
        return _start_time(state["pid"]) == state["started"]
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("--plane", choices=planes.NAMES, default="devmesh")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--keep", action="store_true", help="leave it running in the background")
    what.add_argument("--clean", action="store_true", help="remove what --keep left")
    what.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--colour", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    colour = args.colour or (sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    printer = Printer(colour)
    if os.geteuid() != 0:
        printer.bad("the demo makes network namespaces: run it as root")
        return 77
    signal.signal(signal.SIGTERM, network.as_interrupt)
    try:
        if args.clean:
            return clean(printer)
        if args.keep:
            return keep_in_background(args.plane, colour)
        return show(args.plane, printer, hold if args.hold else None)
    except KeyboardInterrupt:
        print("\nInterrupted: everything is removed.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""What replacing a proxy costs: the figures of each kind of hand-over side by side, their goals, and the table."""

from __future__ import annotations

import dataclasses
import math
import statistics
import typing

KINDS = ("hot-restart", "side-by-side", "planned-cold")
SMOOTH = KINDS[:2]  # nobody may notice them
STOCK = "stock"  # Istio's agent, restarted: the only way in which it replaces its proxy
HAWSER = "hawser"  # figures that are of no kind
COLUMNS = (*KINDS, STOCK)
WIDTH = 14


@dataclasses.dataclass(frozen=True)
class Row:
    """`goal` is an upper bound for the columns in `judged`; None: for information."""

    text: str
    key: str
    unit: str = ""
    goal: float | None = None
    judged: tuple[str, ...] = KINDS
    digits: int = 0


ROWS = (
    Row("hand-overs", "hand_overs"),
    Row("requests a second, without a retry", "rate", "/s"),
    Row("requests sent", "requests"),
    Row("  failed", "failed", "", 0, SMOOTH),
    Row("  of them refused connections", "refused_connects", "", 0, SMOOTH),
    Row("streams and connections cut too early", "early", "", 0, SMOOTH),
    Row("p99, steady", "p99_steady", "ms", digits=1),
    Row("p99 in a hand-over", "p99_hand_over", "ms", digits=1),
    Row("  ratio", "p99_ratio", "", 2, SMOOTH, 2),
    Row("command → ACTIVE, median", "active", "ms"),
    Row("no new connection served for, median", "outage", "ms", digits=1),
    Row("  at most", "outage_max", "ms", 1000, digits=1),
    Row("counters that went backwards", "backwards", "", 0),
    Row("proxies at once, at most", "most_proxies", "", 2),
    Row("left behind (files, sockets, processes)", "leaks", "", 0),
)
ALONE = (
    Row("kill -9 of the proxy → noticed", "death", "ms", 200, (HAWSER,)),
    Row("  → another is LIVE", "death_live", "ms"),
    Row("SIGSTOP of the proxy → noticed", "wedge", "ms", 10_000, (HAWSER,)),
    Row("supervision idle: CPU of hawserd", "idle_cpu", "%", None, (HAWSER,), 3),
    Row("  wake-ups a second", "idle_wakeups", "/s", digits=1),
)


def figures_of(document: dict[str, typing.Any]) -> dict[str, float]:
    """Of a run's document (lab.hand_overs.Run)."""
    p99, outage = document["p99_ms"], document["outage_ms"]
    return {
        **{key: document[key] for key in ("hand_overs", "rate", "requests", "failed", "refused_connects", "most_proxies")},
        "early": len(document["early_ends"]),
        "p99_steady": p99["steady"],
        "p99_hand_over": p99["hand_over"],
        "p99_ratio": p99["hand_over"] / p99["steady"],
        "active": document["to_live_ms"]["median"],
        "outage": statistics.median(outage) if outage else math.nan,
        "outage_max": max(outage, default=math.nan),
        "backwards": len(document["counters_backwards"]),
        "leaks": len(document["leaks"]),
    }


class Book:
    """Figures by column."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, float]] = {}
        self.samples: dict[str, list[float]] = {}
        self.missing: dict[str, str] = {}  # columns that couldn't be measured, and why

    def note(self, key: str, value: float) -> None:
        """A sample of a figure of no kind."""
        self.samples.setdefault(key, []).append(value)
        self.figures.setdefault(HAWSER, {})[key] = statistics.median(self.samples[key])

    def met(self, row: Row, column: str) -> bool | None:
        value = self.figures.get(column, {}).get(row.key)
        return None if row.goal is None or column not in row.judged or value is None else value <= row.goal

    def missed(self) -> list[str]:
        rows = [(row, column) for row in (*ROWS, *ALONE) for column in row.judged]
        return [f"{row.text.strip()} ({column})" for row, column in rows if self.met(row, column) is False]

    def json(self) -> dict[str, typing.Any]:
        goals = {row.key: {"at_most": row.goal, "for": row.judged} for row in (*ROWS, *ALONE) if row.goal is not None}
        return {"figures": self.figures, "samples": self.samples, "goals": goals, "missed": self.missed(), "missing": self.missing}

    def table(self) -> str:
        head = f"{'figure':<42}" + "".join(f"{column:>{WIDTH}}" for column in COLUMNS) + f"{'goal':>9}"
        lines = [head, "-" * len(head)] + [self._line(row, COLUMNS) for row in ROWS]
        lines += ["", f"{'':<42}{HAWSER:>{WIDTH}}"] + [self._line(row, (HAWSER,)) for row in ALONE]
        return "\n".join(lines + [f"{column}: not measured: {why}" for column, why in self.missing.items()])

    def _line(self, row: Row, columns: tuple[str, ...]) -> str:
        values = "".join(f"{_show(self.figures.get(column, {}).get(row.key), row):>{WIDTH}}" for column in columns)
        goal = "" if row.goal is None else f"≤ {row.goal:g}"
        verdicts = [self.met(row, column) for column in columns]
        mark = "  MISSED" if False in verdicts else "  met" if True in verdicts else ""
        return f"{row.text:<42}{values}{goal:>9} {row.unit:<3}{mark}".rstrip()


def _show(value: float | None, row: Row) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:,.{row.digits}f}"

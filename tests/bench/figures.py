# SPDX-License-Identifier: Apache-2.0
"""Collected samples, their medians, the goals, and the table."""

from __future__ import annotations

import dataclasses
import statistics
import typing

Samples = dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. `goal` is an upper bound; None: for information."""

    text: str
    key: str
    unit: str
    goal: float | None = None
    stock_key: str | None = None  # another figure of the stock agent to stand beside it
    digits: int = 1


ROWS = (
    Row("exec → ready, certificate on disk, Envoy started", "start_ms", "ms", None, "start_none_ms", 0),
    Row("  the same, the stock agent by default (cloud probing)", "start_ms", "ms", 120, "start_probing_ms", 0),
    Row("exec → ready, Envoy goes on and is adopted (a restart)", "adopt_ms", "ms", 120, "-", 0),
    Row("agent CPU until ready, Envoy started", "start_cpu_ms", "ms", 40),
    Row("agent CPU until ready, Envoy adopted", "adopt_cpu_ms", "ms", 40, "-"),
    Row("agent RSS, idle", "idle_rss_mb", "MB", 17),
    Row("agent PSS, idle", "idle_pss_mb", "MB"),
    Row("agent RSS, 1,000 clusters", "clusters_rss_mb", "MB", 20),
    Row("hawser-broker RSS, idle", "broker_rss_mb", "MB", 6, "-"),
    Row("hawser-broker PSS, idle", "broker_pss_mb", "MB", None, "-"),
    Row("agent RSS, 20 s after pushes of 10 MB", "pushed_rss_mb", "MB", None),
    Row("  above what may be: idle + 3 MB + 1.3 × cached", "pushed_excess_mb", "MB", 0, "-"),
    Row("relay of 1 MB, push → client", "relay_1_ms", "ms", None, None, 2),
    Row("  ratio to a direct client", "relay_1_ratio", "", 1.8, None, 2),
    Row("  agent CPU a MB", "relay_1_cpu", "ms", 1.5, None, 2),
    Row("relay of 10 MB, push → client", "relay_10_ms", "ms"),
    Row("  ratio to a direct client", "relay_10_ratio", "", 1.8, None, 2),
    Row("  agent CPU a MB", "relay_10_cpu", "ms", 1.5, None, 2),
    Row("restart under load: failed requests", "restart_failed", "", 0, None, 0),
    Row("  longest time without a success", "restart_gap_ms", "ms", None, None, 0),
    Row("stop when idle", "stop_ms", "ms", 300, None, 0),
    Row("idle CPU", "idle_cpu_percent", "%", 0.01, None, 3),
    Row("  wake-ups a second", "idle_wakeups", "", None),
)


class Book:
    """Samples by agent and figure."""

    def __init__(self) -> None:
        self.samples: dict[str, Samples] = {"stock": {}, "hawser": {}}

    def note(self, agent: str, key: str, value: float) -> None:
        self.samples[agent].setdefault(key, []).append(value)

    def median(self, agent: str, key: str | None) -> float | None:
        values = self.samples[agent].get(key or "")
        return statistics.median(values) if values else None

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            agent: {key: round(statistics.median(values), 4) for key, values in samples.items()}
            for agent, samples in self.samples.items()
        }

    def json(self, machine: dict[str, object], runs: int) -> dict[str, typing.Any]:
        goals = {row.key: {"at_most": row.goal, "met": self.met(row)} for row in ROWS if row.goal is not None}
        spread = {
            agent: {key: [round(value, 4) for value in values] for key, values in samples.items()}
            for agent, samples in self.samples.items()
        }
        return {"machine": machine, "runs": runs, "medians": self.medians(), "goals": goals, "samples": spread}

    def met(self, row: Row) -> bool | None:
        value = self.median("hawser", row.key)
        return None if row.goal is None or value is None else value <= row.goal

    def table(self) -> str:
        lines = [f"{'figure':<56}{'stock':>10}{'hawser':>10}{'goal':>10}", "-" * 92]
        for row in ROWS:
            stock = self.median("stock", row.stock_key or row.key)
            ours = self.median("hawser", row.key)
            goal = "" if row.goal is None else f"≤ {row.goal:g}"
            mark = {True: "  met", False: "  MISSED", None: ""}[self.met(row)]
            unit = f" {row.unit}" if row.unit else ""
            lines.append(f"{row.text:<56}{_show(stock, row):>10}{_show(ours, row):>10}{goal:>10}{unit:<4}{mark}".rstrip())
        return "\n".join(lines)


def _show(value: float | None, row: Row) -> str:
    return "–" if value is None else f"{value:.{row.digits}f}"

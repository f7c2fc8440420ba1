# SPDX-License-Identifier: Apache-2.0
"""The relay's samples, their goals, and the table."""

from __future__ import annotations

import dataclasses
import statistics
import typing

LANES = ("direct", "hawser", "stock", "plaintext")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line. `goal` is an upper bound for Hawser; None: for information."""

    text: str
    key: str
    unit: str
    goal: float | None = None
    digits: int = 2


def _rows() -> list[Row]:
    out = []
    for variant, words in (("delta", "delta"), ("sotw", "state of the world")):
        for label in ("1", "10", "50"):
            out.append(Row(f"{label} MB, {words}, push → client", f"{variant} {label} ms", "ms"))
            out.append(Row("  ratio to direct", f"{variant} {label} ratio", "", 1.8))
            out.append(Row("  agent CPU a MB, TLS upstream", f"{variant} {label} cpu", "ms", 1.5 if variant == "delta" else None))
    out += [
        Row("one changed cluster of 10,000", "one ms", "ms"),
        Row("  added", "one added", "ms", 1.0),
        Row("agent RSS, idle", "idle", "MB", None, 1),
        Row("agent RSS, 20 s after 10 MB", "kept 10", "MB", None, 1),
        Row("  above idle + 3 MB + 1.3 × cached", "excess 10", "MB", 0, 1),
        Row("agent RSS, 20 s after 50 MB", "kept 50", "MB", None, 1),
        Row("  above idle + 3 MB + 1.3 × cached", "excess 50", "MB", 0, 1),
        Row("the same with a second proxy", "two", "MB", None, 1),
        Row("  more than with one", "two percent", "%", 10, 1),
    ]
    return out


ROWS = _rows()


class Book:
    """Samples by lane and figure."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = {lane: {} for lane in LANES}

    def note(self, lane: str, key: str, value: float) -> None:
        self.samples[lane].setdefault(key, []).append(value)

    def median(self, lane: str, key: str) -> float | None:
        values = self.samples[lane].get(key)
        return statistics.median(values) if values else None

    def met(self, row: Row) -> bool | None:
        value = self.median("hawser", row.key)
        return None if row.goal is None or value is None else value <= row.goal

    def json(self) -> dict[str, typing.Any]:
        medians = {lane: {k: round(statistics.median(v), 4) for k, v in figures.items()} for lane, figures in self.samples.items()}
        goals = {row.key: {"at_most": row.goal, "met": self.met(row)} for row in ROWS if row.goal is not None}
        return {"medians": medians, "goals": goals, "samples": self.samples}

    def table(self) -> str:
        head = f"{'figure':<44}" + "".join(f"{lane:>11}" for lane in LANES) + f"{'goal':>10}"
        lines = [head, "-" * 104]
        for row in ROWS:
            values = "".join(f"{_show(self.median(lane, row.key), row):>11}" for lane in LANES)
            goal = "" if row.goal is None else f"≤ {row.goal:g}"
            mark = {True: "  met", False: "  MISSED", None: ""}[self.met(row)]
            lines.append(f"{row.text:<44}{values}{goal:>10} {row.unit:<3}{mark}".rstrip())
        return "\n".join(lines)


def _show(value: float | None, row: Row) -> str:
    return "–" if value is None else f"{value:.{row.digits}f}"

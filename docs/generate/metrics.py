"""Describe the metrics for people, as `docs/reference/metrics.md`, from the table in `automon/metrics.py`: `make generate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from automon.metrics import FAMILIES, Chapter, Family

PAGE_FILE = Path("docs/reference/metrics.md")

_INTRODUCTION = """\
# Metrics

Written by `make generate`. What `/metrics` tells a Prometheus that asks it, in the text format 0.0.4.
[Prometheus and Grafana](../prometheus_grafana.md) says how to set that up.

- Names, labels and units are stable: seconds, bytes and ratios from 0 to 1. Moments are in Unix time, by the clock of
  the database; those of the service and its process by the clock of its machine.
- A **counter** (its name ends in `_total`) begins at 0 with each start of the service and only rises. All else is a
  **gauge**. What is counted "within the last hour" rises and falls.
- A value that is not known is absent, never 0.
- What comes from the database is read ahead every 15 seconds while somebody asks (less often where that takes the
  database more than 0.3 seconds), and `automon_metrics_reading_age_seconds` says how old it is. While the database is
  away it is absent, `automon_database_up` is 0, and what the service knows by itself is answered at once.
- Labels whose values users choose have at most 1,000 of them: the task types with the most tasks, the components with
  the most errors or in trouble, the longest queues, the busiest hosts, the fullest disks. The rest is added up in the
  series `other`, or left out where that would mean nothing; `automon_names_left_out` says how many names that are.
- Several services on one database tell the same of it: sum up what is under "This service" and "Its process" only.
"""


def page() -> str:
    """Return the page: a table for each chapter, in the order in which the metrics are told."""
    return _INTRODUCTION + "".join(_section(chapter) for chapter in Chapter)


def _section(chapter: Chapter) -> str:
    rows = "".join(_rows(family for family in FAMILIES.values() if family.chapter is chapter))
    return f"\n## {chapter}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}"


def _rows(families: Iterator[Family]) -> Iterator[str]:
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} |\n"


def main() -> None:
    """Write the page into the checkout that this runs in."""
    PAGE_FILE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

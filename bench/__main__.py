"""Every section that has a goal, in one table, below what the figures depend on.

python -m bench            small sizes, some minutes
python -m bench --full     the sizes of the goals: hours, and tens of gigabytes where temporary files are
"""

from __future__ import annotations

import argparse
from importlib import import_module

from bench.harness import database, report, tell_machine

# Each has measure(full), which yields figures. What cannot be imported is an error: a section that is missing from the
# table would look like one that met its goals.
SECTIONS = (
    "bench.write_path",
    "bench.flat",
    "bench.fast_lane",
    "bench.retention",
    "bench.upgrade",
    "bench.metrics",
    "bench.status",
    "bench.client",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the goals")
    full = parser.parse_args().full
    sections = [import_module(name) for name in SECTIONS]
    with database() as url:
        tell_machine(url)
    for section in sections:
        print(f"\n{(section.__doc__ or section.__name__).splitlines()[0]}", flush=True)
        for figure in section.measure(full):
            report(*figure)


if __name__ == "__main__":
    main()

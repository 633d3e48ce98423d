"""A small document pipeline that reports to automon: a program to start from.

    python examples/integration_example.py --dsn postgresql://user:password@host:5432/database

The DSN may also stand in the environment, as AUTOMON_DSN.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from monitoring_client import MonitoringClient

__all__ = ["MonitoringClient", "main", "process", "process_all"]

DOCUMENTS = {
    "contract.txt": "The parties agree on the following terms. " * 40,
    "letter.txt": "Thank you for your order of last week. " * 12,
    "scan-0042.txt": "",
    "report.txt": "Revenue rose in the third quarter. " * 60,
}


def process(monitor: MonitoringClient, name: str, text: str) -> str:
    """Do the application's work; `with monitor.task` records its start, its end, its steps, and what it raises."""
    with monitor.task("document_processing", input_size=len(text), component="processor") as task:
        with task.step("parse"):
            words = text.split()
            if not words:
                raise ValueError(f"{name} holds no text")
        task.progress(50)
        with task.step("summarise"):
            summary = " ".join(sorted(set(words), key=words.index)[:20])
        task.output_size = len(summary)
        return summary


def process_all(monitor: MonitoringClient, documents: dict[str, str]) -> list[str]:
    """Process every document, go on after a failure, and report on the queue and on the pipeline's own health."""
    queue = monitor.queue("documents")
    failed: list[str] = []
    for position, (name, text) in enumerate(documents.items()):
        queue.report(pending=len(documents) - position, processing=1, failed=len(failed))
        try:
            process(monitor, name, text)
        except ValueError:
            failed.append(name)  # already recorded, with its message and traceback
    queue.report(pending=0, completed=len(documents) - len(failed), failed=len(failed))
    return failed


def index(monitor: MonitoringClient) -> None:
    """Report without `with`: for work that starts in one place and ends in another."""
    task_id = monitor.start_task("index_update", input_size=len(DOCUMENTS), worker_id="indexer-1")
    try:
        time.sleep(0.05)  # here the work would be
        monitor.complete_task(task_id, "completed", output_size=len(DOCUMENTS))
    except Exception as error:
        monitor.record_error(task_id, "index_error", "high", str(error), "indexer")
        monitor.complete_task(task_id, "failed")
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a pretend document pipeline that reports to automon.")
    parser.add_argument(
        "--dsn", default=os.environ.get("AUTOMON_DSN"), help="the automon database (or set AUTOMON_DSN)"
    )
    arguments = parser.parse_args()
    if not arguments.dsn:
        parser.error("give --dsn postgresql://user:password@host:5432/database, or set AUTOMON_DSN")

    with MonitoringClient(arguments.dsn, worker_id="example-1") as monitor:
        began = time.perf_counter()
        failed = process_all(monitor, DOCUMENTS)
        seconds = time.perf_counter() - began
        index(monitor)
        monitor.record_performance_metric("pipeline_duration", "response_time", seconds, "seconds", "processor")
        monitor.update_system_health("pipeline", "documents", "healthy", response_time=1000 * seconds / len(DOCUMENTS))

        # No program needs this: facts that cannot be delivered wait on this machine. It is here to show what has happened.
        if not monitor.flush(timeout=5):
            print("The database could not be reached, the line above says why; the facts wait.", file=sys.stderr)
            return 1
    print(
        f"Recorded {len(DOCUMENTS)} documents ({', '.join(failed)} failed), one index update, a metric, health and a queue."
    )
    print("To look at them, with the DSN in AUTOMON_DSN:")
    print("""  psql "$AUTOMON_DSN" -c 'SELECT * FROM v_error_summary'""")
    print("""  psql "$AUTOMON_DSN" -c 'SELECT task_type, status, duration_seconds, step_timings, error_message
                          FROM processing_metrics ORDER BY start_time DESC LIMIT 5'""")
    return 0


if __name__ == "__main__":
    sys.exit(main())

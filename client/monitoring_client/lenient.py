"""Values that a caller got wrong: told in the log once, and never a reason to break the application."""

from __future__ import annotations

import functools
import logging
import math

logger = logging.getLogger("automon_client")


def number(what: str, value: object, default: float, *, least: float = 0.0) -> float:
    """Read a finite number of at least `least`; for anything else warn, once for each mistake, and answer the default."""
    try:
        answer = float(value)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError):
        answer = math.nan
    if least <= answer < math.inf:
        return answer
    _warn(f"automon: {what} must be a finite number of at least {least:g}, not {value!r:.100}; {default:g} is used")
    return default


@functools.lru_cache(maxsize=100)
def _warn(mistake: str) -> None:
    logger.warning("%s", mistake)

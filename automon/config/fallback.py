"""Which channel stands in for which, and what can be wrong between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from automon.config.types import JOURNAL, MOST_CHANNELS, Mistake, is_channel_name, near


def fallback_mistakes(raw: Any) -> Iterator[Mistake]:
    """Find fallbacks that are no channel, or lead in a circle, which is reported once, at its first channel.

    Works on the parsed file, whatever else is wrong in it: what is not a text is passed over, others report it.
    """
    channels = raw.get("channels") if isinstance(raw, dict) else None
    # More are a mistake already, and each of them would be compared with all others.
    channels = channels if isinstance(channels, dict) and len(channels) <= MOST_CHANNELS else {}
    fallbacks = _fallbacks(channels)
    for name, fallback in fallbacks.items():
        others = [other for other in channels if other not in (name, JOURNAL) and is_channel_name(other)]
        if message := _wrong_name(name, fallback, channels, others):
            allowed = f"null for the journal{', or one of ' if others else ''}{', '.join(others)}"
            yield Mistake(keys=("channels", name, "fallback"), message=message, allowed=allowed)
        elif circle := _circle(name, fallbacks):
            message = f"leads in a circle: {' -> '.join(circle)}"
            allowed = "null for the journal at one of them"
            yield Mistake(keys=("channels", name, "fallback"), message=message, allowed=allowed)


def _fallbacks(channels: dict[str, Any]) -> dict[str, str]:
    named = {name: section.get("fallback") for name, section in channels.items() if isinstance(section, dict)}
    return {name: fallback for name, fallback in named.items() if isinstance(fallback, str)}


def _wrong_name(name: str, fallback: str, channels: Iterable[str], others: list[str]) -> str:
    """Say what is wrong with a fallback by itself; nothing when it is another channel."""
    if fallback == JOURNAL:
        return "names the journal, which is told where no fallback stands"
    if fallback == name:
        return "names the channel itself"
    return "" if fallback in channels else f"names no channel of this file{near(fallback, others)}"


def _circle(start: str, fallbacks: dict[str, str]) -> list[str]:
    """Return the way from a channel back to itself; nothing when there is none or it is told of at an earlier channel."""
    way = [start]
    while (following := fallbacks.get(way[-1])) and following not in way:
        way.append(following)
    first = next(name for name in fallbacks if name in way)
    return [*way, start] if (following, first) == (start, start) else []

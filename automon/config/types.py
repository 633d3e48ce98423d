"""What the values of the config file are made of: numbers, times, zones, secrets, each with its own error text."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time
from difflib import get_close_matches
from io import BytesIO
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from automon.secrets import Secret, SecretReferenceError, Unavailable, resolve

# A zone without any rule, in the file format of RFC 9636: automon must start where no time zone data is installed.
_UTC_FILE = b"TZif" + bytes(16) + bytes(16) + bytes((0, 0, 0, 1, 0, 0, 0, 4)) + bytes(6) + b"UTC\0"

# What is told when a channel without a fallback has failed; no channel of the file can be it.
JOURNAL = "journal"

SECRET_PATTERN = r"^\$(env|file|cred|literal):.+"  # noqa: S105 - a pattern, not a password


# From here on 1e+16 is easier to read than its digits.
LONGEST_PLAIN = 1e16
MOST_CHANNELS = 50  # each has a thread that sends
LONGEST_SOURCE = 512  # bytes, as in the database

Keys = tuple[str | int, ...]


class Section(BaseModel):
    """One object of the config file: an unknown key is a mistake, and no error text repeats a value."""

    # What each key means stands below it, for the reference: to have pydantic read it would cost every start 20 ms.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """Something wrong below a section: the keys that lead to it, what is wrong, what would be right.

    `in_key`: the last key itself is wrong, not the value behind it.
    """

    keys: Keys
    message: str
    allowed: str = ""
    in_key: bool = False


def raise_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Report every mistake at once, in the form that pydantic merges into its own errors; nothing if there is none."""
    details = [
        InitErrorDetails(type=wrong(mistake.message, mistake.allowed), loc=mistake.keys, input=None)
        for mistake in mistakes
    ]
    if details:
        raise ValidationError.from_exception_data("config", details)


def wrong(message: str, allowed: str = "") -> PydanticCustomError:
    """Make the error of one value; `allowed` says what would be right."""
    return PydanticCustomError("automon", "{message}", {"message": message, "allowed": allowed})


def plain(value: float) -> str:
    """Write a number as the config file has it: 25, not 25.0."""
    return str(int(value)) if value == int(value) and abs(value) < LONGEST_PLAIN else repr(value)


def near(word: str, known: Iterable[str]) -> str:
    """Say `, did you mean 'x'?` when one of the known words is close to `word`, else nothing."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean '{found[0]}'?" if found else ""


def _zone(value: Any) -> zoneinfo.ZoneInfo:
    if isinstance(value, zoneinfo.ZoneInfo):
        return value
    if not isinstance(value, str):
        raise wrong("must be the name of a time zone", 'as in "Europe/Berlin" or "UTC"')
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if value == "UTC":
            return zoneinfo.ZoneInfo.from_file(BytesIO(_UTC_FILE), key="UTC")
        raise wrong(f"is not a known time zone{_near_zone(value)}", 'as in "Europe/Berlin" or "UTC"') from None


def _near_zone(value: str) -> str:
    known = zoneinfo.available_timezones()
    return near(value, known) if known else "; this machine has no time zone data, install tzdata"


def _clock_time(value: Any) -> time:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        raise wrong("must be a time of day", '"HH:MM" from "00:00" to "23:59"')
    return time(int(match[1]), int(match[2]))


def _secret(value: Any, info: ValidationInfo) -> Secret | Unavailable:
    """Fetch a secret. One that is not available is no error yet: its channel may be optional or switched off."""
    if not isinstance(value, str):
        raise wrong("must be a text in double quotes", 'as in "$env:NAME"')
    try:
        return resolve(value, info.context["environ"] if info.context else {})
    except SecretReferenceError as error:
        raise wrong(error.message, error.hint) from None


def _database_url(value: Any, info: ValidationInfo) -> Secret | None:
    if value is None:
        return None
    found = _secret(value, info)
    if isinstance(found, Secret):
        _check_database_url(found.reveal())
        return found
    if found.absent and value.startswith("$env:"):
        return None
    raise wrong(found.reason)


def _check_database_url(url: str) -> None:
    """Refuse here what libpq would refuse later with the password in its message."""
    if re.match(r"postgres(ql)?\+\w+://", url):
        raise wrong("the URL names a driver of another library", "begin it with postgresql://")
    if re.match(r"postgres(ql)?://", url):
        if re.search(r"%(?![0-9A-Fa-f]{2})", url):
            raise wrong("the URL holds a % that is no escape", "write %25 for a % in the password")
    elif not re.match(r"\s*\w+\s*=", url):
        raise wrong("this is not the address of a PostgreSQL database", "postgresql://user:password@host:5432/database")


def _web_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s<>|]*", value):
        raise wrong("must be the URL of a page", "https://…")
    return value


def _schema_name(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
        raise wrong("must be the name of a schema", "small letters, digits and _, at most 63, no digit in front")
    if value.startswith("pg_") or value == "information_schema":
        raise wrong("belongs to PostgreSQL itself", "another name")
    return value


def _source_name(value: str) -> str:
    if value == "*" or not value.strip():
        raise wrong("must name one source", "the exact name of a component, task type, queue or host")
    if len(value.encode()) > LONGEST_SOURCE or "\0" in value:
        raise wrong("cannot be the name of a source", f"at most {LONGEST_SOURCE} bytes, without the character U+0000")
    return value


def is_channel_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", text) is not None


def _channel_name(value: str) -> str:
    if not is_channel_name(value):
        raise wrong("cannot be the name of a channel", "letters, digits, - _ and ., at most 63")
    if value == JOURNAL:
        raise wrong("is reserved for the journal of the service", "another name")
    return value


def _secret_schema(*, nullable: bool) -> WithJsonSchema:
    kind: dict[str, Any] = {"type": ["string", "null"] if nullable else "string", "pattern": SECRET_PATTERN}
    return WithJsonSchema(kind)


Amount = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Percent = Annotated[float, Strict(), Field(gt=0, le=100)]
Minutes = Annotated[float, Strict(), Field(ge=0, le=525600)]
Seconds = Annotated[float, Strict(), Field(ge=1, le=86400)]
Days = Annotated[int, Strict(), Field(ge=1, le=3650)]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(max_length=500)]
WebUrl = Annotated[str, AfterValidator(_web_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
SchemaName = Annotated[str, AfterValidator(_schema_name)]
SourceName = Annotated[str, AfterValidator(_source_name)]
ChannelName = Annotated[str, AfterValidator(_channel_name)]
TimeZone = Annotated[zoneinfo.ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string"})]
ClockTime = Annotated[
    time, PlainValidator(_clock_time), WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"})
]
SecretValue = Annotated[Secret | Unavailable, PlainValidator(_secret), _secret_schema(nullable=False)]
DatabaseUrl = Annotated[Secret | None, PlainValidator(_database_url), _secret_schema(nullable=True)]

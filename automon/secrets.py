"""Values that must not be shown: where they come from, what prints instead, and how they are kept out of a text."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit

from automon.errors import AutomonError

MASK = "<secret>"
REFERENCE_HELP = 'one of "$env:NAME", "$file:/path", "$cred:NAME", "$literal:…"'

# A shorter value would turn half of the words in a log into a mask.
_SHORTEST_SCRUBBED = 4
_MAX_FILE_BYTES = 65536
# What is to be found in every log line must not be longer than any password or URL is.
_LONGEST_LITERAL = 8192
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_PASSWORD_PARAMETER = re.compile(r"\bpassword\s*=\s*(?:'([^']*)'|([^\s'&]+))")
_SLACK_TOKEN = re.compile(r"hooks\.slack(?:-gov)?\.com/services/\w+/\w+/(\w+)")

# Secrets of a known form are found even when nobody registered them.
_KNOWN_FORMS = (
    (re.compile(r"(://[^/\s:@'\"]*:)[^\s'\"/?#]+@"), rf"\1{MASK}@"),
    (re.compile(r"(\bpassword\s*=\s*)('[^']*'|[^\s'\"&,;]+)"), rf"\1{MASK}"),
    (re.compile(r"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[\w/-]+"), rf"\1{MASK}"),
    (re.compile(r"(/services/)T\w+/\w+/\w+"), rf"\1{MASK}"),
    (re.compile(r"\bxox[a-z]-[\w-]+"), MASK),
)


class SecretReferenceError(AutomonError):
    """A text that does not say where a secret comes from; the message never repeats the text."""


class Secret:
    """A value that prints as `<secret>`; `reveal()` is the only way to it. Making one registers it with `scrub`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        REGISTRY.add(value)

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A secret that could not be had. `absent`: its source is not there, so that an optional use may do without."""

    reason: str
    absent: bool = True


class SecretRegistry:
    """The values that `scrub` removes. They stay known after a reload: an old one may still stand in an error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Remember `value` and the parts of it that are secret by themselves, in every way a log may write them."""
        written = {form for part in (value, *_secret_parts(value)) for form in _ways_to_write(part)}
        with self._lock:
            if written <= self._written:
                return
            self._written |= written
            # The longest first: a URL must not be masked only where its password stands.
            ordered = sorted(self._written, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def scrub(self, text: str) -> str:
        """Return `text` with every known value, and everything of a known form, replaced by `<secret>`."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        for pattern, replacement in _KNOWN_FORMS:
            text = pattern.sub(replacement, text)
        return text


REGISTRY = SecretRegistry()


def scrub(text: str) -> str:
    """Return `text` without any secret that this process has seen."""
    return REGISTRY.scrub(text)


def _secret_parts(value: str) -> Iterable[str]:
    """Name what is secret inside a longer value: the password of a URL or of a connection string, a webhook's token."""
    yield from _SLACK_TOKEN.findall(value)
    for quoted, bare in _PASSWORD_PARAMETER.findall(value):
        yield quoted or bare
        yield unquote(quoted or bare)
    yield from _password_of_url(value)


def _password_of_url(value: str) -> Iterable[str]:
    try:
        parts = urlsplit(value)
        in_the_open = {parts.username, parts.hostname, parts.path.lstrip("/")}
    except ValueError:
        return
    # A password that equals the user name ("postgres:postgres@") is no secret, and masking it would blot out the logs.
    if parts.password and parts.password not in in_the_open:
        yield parts.password
        yield unquote(parts.password)


def _ways_to_write(value: str) -> Iterable[str]:
    """Spell `value` as it is, in a URL, in JSON and in a Python repr: a log line may hold any of these."""
    if len(value) < _SHORTEST_SCRUBBED:
        return
    for spelt in (value, quote(value, safe=""), repr(value)[1:-1]):
        yield spelt
        yield json.dumps(spelt)[1:-1]
        yield json.dumps(spelt, ensure_ascii=False)[1:-1]


def resolve(reference: str, environ: Mapping[str, str]) -> Secret | Unavailable:
    """Fetch the secret that `reference` names. Raises SecretReferenceError for a text of another form."""
    kind, separator, name = reference.partition(":")
    if not separator or kind not in ("$env", "$file", "$cred", "$literal"):
        raise SecretReferenceError(
            "a secret must not stand here in the open; say where it comes from",
            hint=f"{REFERENCE_HELP}; the last one if it must be in this file",
        )
    if not name:
        raise SecretReferenceError(f"nothing stands behind {kind}:", hint=REFERENCE_HELP)
    if len(name) > _LONGEST_LITERAL:
        raise SecretReferenceError(
            f"what stands behind {kind}: is too long", hint=f"at most {_LONGEST_LITERAL} characters"
        )
    match kind:
        case "$env":
            return _from_environment(name, environ)
        case "$file":
            return _from_file(name)
        case "$cred":
            return _from_credential(name, environ)
        case _:
            return Secret(name)


def _from_environment(name: str, environ: Mapping[str, str]) -> Secret | Unavailable:
    if not _ENV_NAME.fullmatch(name):
        raise SecretReferenceError(
            "this is not the name of an environment variable", hint="letters, digits and _, no digit in front"
        )
    value = environ.get(name, "").strip()
    return Secret(value) if value else Unavailable(f"{name} is not set" if name not in environ else f"{name} is empty")


def _from_file(name: str) -> Secret | Unavailable:
    path = Path(name)
    if not path.is_absolute():
        raise SecretReferenceError("the path behind $file: must be absolute", hint='example: "$file:/etc/automon/url"')
    return _read(path)


def _from_credential(name: str, environ: Mapping[str, str]) -> Secret | Unavailable:
    # A name with a slash would reach outside of the credentials directory.
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise SecretReferenceError(
            "this is not the name of a systemd credential", hint="letters, digits, - _ and ., no . in front"
        )
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return Unavailable(f"the credential {name} is not there: CREDENTIALS_DIRECTORY is not set")
    return _read(Path(directory, name))


def _read(path: Path) -> Secret | Unavailable:
    """Read a one-line secret. Only a missing file counts as absent: an unreadable one is a mistake to repair."""
    try:
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            return Unavailable(f"{path} is not a plain file", absent=False)
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Unavailable(f"{path} is not there")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        return Unavailable(f"{path} cannot be read: {reason}", absent=False)
    return _one_line(path, content)


def _one_line(path: Path, content: bytes) -> Secret | Unavailable:
    if len(content) > _MAX_FILE_BYTES:
        return Unavailable(f"{path} is larger than {_MAX_FILE_BYTES} bytes", absent=False)
    try:
        value = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return Unavailable(f"{path} is not UTF-8 text", absent=False)
    if not value:
        return Unavailable(f"{path} is empty")
    if len(value.splitlines()) > 1:
        return Unavailable(f"{path} holds more than one line", absent=False)
    return Secret(value)

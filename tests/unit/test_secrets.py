from __future__ import annotations

import copy
import json
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.secrets import Secret, SecretReferenceError, SecretRegistry, Unavailable, resolve, scrub

VALUE = "hunter2-of-the-tests"


@dataclass(frozen=True)
class Holder:
    url: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE)!r:>20}",
        f"{Secret(VALUE):>20}",
        "{}".format(Secret(VALUE)),  # noqa: UP032 - a way of formatting of its own
        "%s %r" % (Secret(VALUE), Secret(VALUE)),  # noqa: UP031 - a way of formatting of its own
        repr(Holder(Secret(VALUE))),
        str([Secret(VALUE)]),
        str(asdict(Holder(Secret(VALUE)))),
    ],
)
def test_a_secret_never_prints_its_value(shown: str) -> None:
    assert "<secret>" in shown
    assert VALUE not in shown


def test_a_secret_is_revealed_only_on_request() -> None:
    assert VALUE == Secret(VALUE).reveal()


def test_secrets_are_compared_by_value() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert hash(Secret(VALUE)) == hash(Secret(VALUE))
    assert Secret(VALUE) != Secret(f"{VALUE}-2")
    assert Secret(VALUE) != VALUE


def test_a_secret_leaves_the_process_neither_pickled_nor_as_json() -> None:
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(Secret(VALUE))
    with pytest.raises(TypeError):
        json.dumps(Secret(VALUE))


def test_copying_what_holds_a_secret_works() -> None:
    holder = Holder(Secret(VALUE))

    assert holder == copy.deepcopy(holder)
    assert holder == copy.copy(holder)


def test_a_reference_to_the_environment_gives_the_variable() -> None:
    assert Secret("x y") == resolve("$env:WEBHOOK", {"WEBHOOK": " x y\n"})
    assert Unavailable("WEBHOOK is not set") == resolve("$env:WEBHOOK", {})
    assert Unavailable("WEBHOOK is empty") == resolve("$env:WEBHOOK", {"WEBHOOK": " "})


def test_a_literal_is_taken_as_it_stands() -> None:
    assert Secret("a:b $env:C") == resolve("$literal:a:b $env:C", {"C": "no"})


def test_a_reference_to_a_file_gives_its_line(tmp_path: Path) -> None:
    file = tmp_path / "with space"
    file.write_bytes("\ufeffvälue\r\n".encode())

    assert Secret("välue") == resolve(f"$file:{file}", {})


def test_a_reference_to_a_credential_gives_the_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "slack_url").write_text("walue-4712\n")

    assert Secret("walue-4712") == resolve("$cred:slack_url", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_credential_without_systemd_is_absent() -> None:
    expected = Unavailable("the credential slack_url is not there: CREDENTIALS_DIRECTORY is not set")

    assert expected == resolve("$cred:slack_url", {})


def test_a_missing_or_empty_file_is_absent(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()

    assert Unavailable(f"{tmp_path}/missing is not there") == resolve(f"$file:{tmp_path}/missing", {})
    assert Unavailable(f"{empty}/below is not there") == resolve(f"$file:{empty}/below", {})
    assert Unavailable(f"{empty} is empty") == resolve(f"$file:{empty}", {})


def test_a_file_that_holds_no_single_line_of_text_is_a_mistake(tmp_path: Path) -> None:
    file, pipe, large = tmp_path / "file", tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(b"x" * 70000)

    file.write_bytes(b"one\ntwo\n")
    assert Unavailable(f"{file} holds more than one line", absent=False) == resolve(f"$file:{file}", {})
    file.write_bytes(b"\xff\xfe")
    assert Unavailable(f"{file} is not UTF-8 text", absent=False) == resolve(f"$file:{file}", {})
    assert Unavailable(f"{pipe} is not a plain file", absent=False) == resolve(f"$file:{pipe}", {})
    assert Unavailable(f"{tmp_path} is not a plain file", absent=False) == resolve(f"$file:{tmp_path}", {})
    assert Unavailable(f"{large} is larger than 65536 bytes", absent=False) == resolve(f"$file:{large}", {})
    assert Unavailable("/a\0b cannot be read: not a path", absent=False) == resolve("$file:/a\0b", {})


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    # A link to itself is unreadable for root, too, unlike a file without permissions.
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    found = resolve(f"$file:{loop}", {})

    assert Unavailable(f"{loop} cannot be read: Too many levels of symbolic links", absent=False) == found


REFERENCES = '"$env:NAME", "$file:/path", "$cred:NAME", "$literal:…"'
WRONG_REFERENCES = {
    "a bare value": (
        VALUE,
        "a secret must not stand here in the open; say where it comes from",
        f"one of {REFERENCES}; the last one if it must be in this file",
    ),
    "a bare URL": (
        f"https://{VALUE}",
        "a secret must not stand here in the open; say where it comes from",
        f"one of {REFERENCES}; the last one if it must be in this file",
    ),
    "nothing behind the colon": ("$file:", "nothing stands behind $file:", f"one of {REFERENCES}"),
    "a strange variable": (
        f"$env:{VALUE}",
        "this is not the name of an environment variable",
        "letters, digits and _, no digit in front",
    ),
    "a relative path": (
        f"$file:{VALUE}",
        "the path behind $file: must be absolute",
        'example: "$file:/etc/automon/url"',
    ),
    "a credential elsewhere": (
        f"$cred:../{VALUE}",
        "this is not the name of a systemd credential",
        "letters, digits, - _ and ., no . in front",
    ),
}


@pytest.mark.parametrize(("text", "message", "hint"), WRONG_REFERENCES.values(), ids=WRONG_REFERENCES.keys())
def test_any_other_text_is_refused_without_repeating_it(text: str, message: str, hint: str) -> None:
    with pytest.raises(SecretReferenceError) as caught:
        resolve(text, {})

    assert (message, hint) == (caught.value.message, caught.value.hint)
    assert VALUE not in str(caught.value)


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_value_is_scrubbed_however_it_is_written(value: str, before: str, behind: str) -> None:
    registry = SecretRegistry()
    registry.add(value)

    for written in (value, json.dumps(value)[1:-1], json.dumps(repr(value))[1:-1], repr(value)[1:-1]):
        scrubbed = registry.scrub(f"{before}{written}{behind}")
        assert not any(value in rest for rest in scrubbed.split("<secret>"))
        assert "<secret>" in scrubbed


def test_a_value_is_scrubbed_from_a_url_that_holds_it_escaped() -> None:
    registry = SecretRegistry()
    registry.add("p@ss/word")

    assert "x=<secret>&y" == registry.scrub(f"x={quote('p@ss/word', safe='')}&y")


@pytest.mark.parametrize(
    ("registered", "text", "expected"),
    [
        ("postgresql://u:geheim99@db/x", "auth failed for geheim99", "auth failed for <secret>"),
        ("postgresql://u:geh%40eim@db/x", "token geh@eim", "token <secret>"),
        ("smtp://u:s%2Fs9!x@mail?from=a@x&to=b@x", "AUTH s/s9!x", "AUTH <secret>"),
        ("host=db password=geheim99 dbname=x", "geheim99?", "<secret>?"),
        ("https://hooks.slack.com/services/T1/B1/tokentoken", "slack://T1/B1/tokentoken", "slack://T1/B1/<secret>"),
    ],
)
def test_the_secret_part_of_a_longer_value_is_known_too(registered: str, text: str, expected: str) -> None:
    registry = SecretRegistry()
    registry.add(registered)

    assert expected == registry.scrub(text)
    assert "<secret>" == registry.scrub(registered)


def test_a_password_that_equals_the_user_name_does_not_blot_out_every_mention_of_it() -> None:
    registry = SecretRegistry()
    registry.add("postgresql://postgres:postgres@localhost/postgres")

    assert "database postgres is away" == registry.scrub("database postgres is away")


def test_a_very_short_value_is_left_alone() -> None:
    registry = SecretRegistry()
    registry.add("abc")

    assert "abcabc" == registry.scrub("abcabc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to postgresql://bob:never-seen@db:5432/x now", "to postgresql://bob:<secret>@db:5432/x now"),
        ("POST /services/T0AAA/B0BBB/cCcC1 HTTP/1.1", "POST /services/<secret> HTTP/1.1"),
        ("https://hooks.slack.com/services/T0/B0/xyz?a=1", "https://hooks.slack.com/services/<secret>?a=1"),
        ("https://hooks.slack.com/workflows/T0/F/1/y", "https://hooks.slack.com/workflows/<secret>"),
        ("token xoxb-12-ab_C ends", "token <secret> ends"),
        ("host=db password=never-seen dbname=x", "host=db password=<secret> dbname=x"),
        ("password = 'never seen' x", "password = <secret> x"),
    ],
)
def test_what_looks_like_a_secret_is_scrubbed_without_being_registered(text: str, expected: str) -> None:
    assert expected == SecretRegistry().scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET http://127.0.0.1:8080/x?to=ops@example.org",
        "mail to ops@example.org at 10:00",
        "postgresql://db:5432/x",
        "services/T0 is a folder",
    ],
)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert text == SecretRegistry().scrub(text)


def test_making_a_secret_registers_it() -> None:
    Secret("made-just-now-4711")

    assert "a <secret> b" == scrub("a made-just-now-4711 b")

"""What a Prometheus would say of a text that it was given: by its own promtool, and by a reader that works everywhere."""

from __future__ import annotations

import fcntl
import io
import math
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import CannotFetchError

_FOLDER = Path(__file__).parents[2] / ".servers"
_PROMTOOL = "./usr/bin/promtool"

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge)")
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}

_OTHER_UNIT = re.compile(r"_(?:milliseconds|ms|minutes|hours|days|percent|kilobytes|megabytes)(?:_|$)")

Labels = tuple[tuple[str, str], ...]


@dataclass
class Exposed:
    """A family as it was told: its kind, and its values by their labels."""

    kind: str
    help: str
    values: dict[Labels, float] = field(default_factory=dict)

    def of(self, **labels: str) -> float:
        """Answer the one value that has these labels among its own."""
        [value] = self.all_of(**labels)
        return value

    def all_of(self, **labels: str) -> list[float]:
        return [value for told, value in self.values.items() if labels.items() <= dict(told).items()]

    def label(self, name: str) -> set[str]:
        return {dict(labels)[name] for labels in self.values}


def read_exposition(text: str) -> dict[str, Exposed]:
    """Read the text format 0.0.4, more strictly than Prometheus: one HELP and TYPE, then all samples of that name, each once."""
    assert text.endswith("\n"), "the last line has no end"
    families: dict[str, Exposed] = {}
    lines = iter(text[:-1].split("\n"))
    current = ""
    for line in lines:
        if line.startswith("#"):
            told = _HELP.fullmatch(line)
            assert told, f"no HELP: {line!r}"
            kind = _TYPE.fullmatch(next(lines))
            assert kind, f"no TYPE behind {line!r}"
            assert kind[1] == told[1] != current, line
            current = told[1]
            assert current not in families, f"{current} comes twice"
            families[current] = Exposed(kind=kind[2], help=told[2])
        else:
            _read_sample(line, current, families)
    assert [name for name, family in families.items() if not family.values] == [], "families without a value"
    for family in families.values():
        assert len({tuple(name for name, _ in labels) for labels in family.values}) == 1, (
            "labels differ within a family"
        )
    return families


def _read_sample(line: str, current: str, families: dict[str, Exposed]) -> None:
    sample = _SAMPLE.fullmatch(line)
    assert sample, f"no sample: {line!r}"
    assert sample[1] == current, f"a sample of {sample[1]} below {current}"
    assert _VALUE.fullmatch(sample[3]), f"no number: {line!r}"
    labels = tuple(
        (name, _ESCAPE.sub(lambda found: _UNESCAPED[found[1]], value)) for name, value in _PAIR.findall(sample[2] or "")
    )
    assert len(dict(labels)) == len(labels), f"a label comes twice: {line!r}"
    assert labels not in families[current].values, f"a series comes twice: {line!r}"
    value = float(sample[3])
    assert families[current].kind != "counter" or (value >= 0 and math.isfinite(value)), line
    families[current].values[labels] = value


_RESERVED = {"job", "instance", "le", "quantile"}


def _broken_rules(name: str, family: Exposed) -> Iterator[str]:
    if (family.kind == "counter") != name.endswith("_total"):
        yield "counters, and they alone, end in _total"
    if name.endswith(("_sum", "_count", "_bucket")):
        yield "a suffix of histograms"
    if _OTHER_UNIT.search(name):
        yield "no base unit"
    if any(_RESERVED & dict(labels).keys() for labels in family.values):
        yield "a label that Prometheus sets itself"


def complaints(families: Mapping[str, Exposed]) -> list[str]:
    """Name what Prometheus' own rules for names and labels would have otherwise."""
    return [f"{name}: {rule}" for name, family in families.items() for rule in _broken_rules(name, family)]


def promtool() -> Path:
    """Return Prometheus' own checker: one of this machine, or that of Debian's package, fetched once. Raises CannotFetchError."""
    here = shutil.which("promtool")
    if here is not None:
        return Path(here)
    home = _FOLDER / "promtool"
    if not home.exists():
        _fetch(home)
    return home


def check_metrics(text: str) -> list[str]:
    """Answer what promtool has to say; nothing when all is well."""
    done = subprocess.run(
        [str(promtool()), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    return lines if done.returncode or lines else []


def check_rules(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool()), "check", "rules", str(path)], capture_output=True, text=True, check=False)


def _fetch(home: Path) -> None:
    """Take promtool out of the package of this machine's distribution, which apt knows the signature of; nothing is installed."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotFetchError("promtool is not here, and neither is apt-get to fetch it: install Prometheus")
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=_FOLDER) as scratch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.exists():
            return
        options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20"]
        done = subprocess.run(
            ["apt-get", *options, "download", "prometheus"], cwd=scratch, capture_output=True, text=True, check=False
        )
        packages = list(Path(scratch).glob("prometheus_*.deb"))
        if done.returncode or not packages:
            raise CannotFetchError(f"apt-get could not fetch prometheus, for promtool:\n{done.stderr.strip()}")
        files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(packages[0])], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(files)) as packed:
            program = packed.extractfile(_PROMTOOL)
            assert program is not None
            (Path(scratch) / "promtool").write_bytes(program.read())
        (Path(scratch) / "promtool").chmod(0o755)
        (Path(scratch) / "promtool").rename(home)

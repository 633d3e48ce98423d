"""What `automon top` shows and what its keys do: a state that keys change, and the lines that it makes. No terminal, no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from automon.cli.options import parse_duration
from automon.cli.status_screen import Status, alert_lines, headline, queue_lines, status_lines, task_lines
from automon.cli.table import rest_column, table, text_column
from automon.cli.text import PAINT_END, ago, clip, cut, is_paint
from automon.cli.theme import OF_SEVERITY, State, Theme
from automon.cli.work_screens import host_table
from notifiers.words import duration as duration_words

Document = dict[str, Any]
SECTIONS = MappingProxyType({"0": "all", "1": "alerts", "2": "tasks", "3": "queues", "4": "hosts"})
KEYS_LINE = "1 alerts  2 tasks  3 queues  4 hosts  0 all   Enter explain  a ack  ? help  q"
HELP = (
    "automon top: what `automon status` shows, live.",
    "",
    "  0 1 2 3 4    everything, alerts, tasks, queues, hosts and components",
    "  up down      choose an alert, or a row (also k and j)",
    "  Enter        explain what is chosen",
    "  a            acknowledge the chosen alert, after a question",
    "  s            silence the chosen source, after its duration, a reason and a question",
    "  y            copy the command that explains what is chosen",
    "  /            show only what has these letters in its name; Enter with none shows all",
    "  p            pause, and go on",
    "  ?            this help",
    "  q            leave",
    "",
    "Nothing is changed without a question that y answers.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a row is about: a source, and the alert that is open for it."""

    source: str
    alert_id: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What is to be done with the database or the terminal: "quit", "explain", "ack", "preview", "silence" or "copy"."""

    name: str
    target: Target | None = None
    duration: timedelta | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """The lines of one row."""

    target: Target
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A question at the bottom: for a text that Enter ends, or for a yes."""

    kind: str
    text: str = ""
    target: Target | None = None
    duration: timedelta | None = None
    reason: str = ""


@dataclass(kw_only=True, slots=True)
class Top:
    """Everything that the screen depends on. `trouble` says since when and why the database does not answer."""

    by: str
    status: Status | None = None
    section: str = "all"
    wanted: str = ""
    chosen: int = 0
    is_paused: bool = False
    message: str = ""
    trouble: str = ""
    prompt: Prompt | None = None
    # A text that covers the screen until a key is pressed: its title lines and how far it is scrolled.
    page: Sequence[str] | None = None
    scrolled: int = 0
    drawn: list[Target] = field(default_factory=list)

    # Keys ---------------------------------------------------------------------------------------------------------

    def press(self, key: str) -> Action | None:
        """Change by a key; answer what else is to be done."""
        self.message = ""
        if key == "end":
            return Action(name="quit")
        if self.prompt is not None:
            return self._answer(self.prompt, key)
        if self.page is not None:
            self._turn(key)
            return None
        return self._choose(key)

    def _choose(self, key: str) -> Action | None:
        if key in SECTIONS:
            self.section, self.chosen = SECTIONS[key], 0
        elif key in ("up", "k", "down", "j", "page up", "page down"):
            step = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10}[key]
            self.chosen = max(0, min(self.chosen + step, len(self.drawn) - 1))
        elif key == "p":
            self.is_paused = not self.is_paused
        elif key == "?":
            self.page, self.scrolled = HELP, 0
        elif key == "/":
            self.prompt = Prompt(kind="filter", text=self.wanted)
        elif key == "escape":
            self.wanted, self.chosen = "", 0
        elif key == "q":
            return Action(name="quit")
        elif key in ("enter", "y", "a", "s"):
            return self._act(key)
        return None

    def _act(self, key: str) -> Action | None:
        target = self.target
        if target is None:
            self.message = "nothing is chosen"
        elif key == "enter":
            return Action(name="explain", target=target)
        elif key == "y":
            return Action(name="copy", target=target)
        elif key == "s":
            self.prompt = Prompt(kind="duration", text="2h", target=target)
        elif target.alert_id is None:
            self.message = f"{target.source} has no open alert to acknowledge"
        else:
            self.prompt = Prompt(kind="ack", target=target)
        return None

    @property
    def target(self) -> Target | None:
        return self.drawn[min(self.chosen, len(self.drawn) - 1)] if self.drawn else None

    def _turn(self, key: str) -> None:
        """Scroll a page, or close it."""
        step = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, " ": 10}.get(key)
        if step is None:
            self.page = None
        elif self.page is not None:
            self.scrolled = max(0, min(self.scrolled + step, len(self.page) - 1))

    def _answer(self, prompt: Prompt, key: str) -> Action | None:
        if key == "escape":
            self.prompt = None
        elif prompt.kind in ("ack", "silence"):
            self.prompt = None
            if key in ("y", "Y"):
                return Action(name=prompt.kind, target=prompt.target, duration=prompt.duration, reason=prompt.reason)
            self.message = "nothing was changed"
        elif key == "enter":
            return self._enter(prompt)
        elif key == "backspace":
            self.prompt = replace(prompt, text=prompt.text[:-1])
        elif len(key) == 1:
            self.prompt = replace(prompt, text=prompt.text + key)
        return None

    def _enter(self, prompt: Prompt) -> Action | None:
        match prompt.kind:
            case "filter":
                self.wanted, self.chosen, self.prompt = prompt.text, 0, None
            case "duration":
                duration = parse_duration(prompt.text)
                if duration is None:
                    self.message = f"{prompt.text!r} is not a duration: write 30m, 2h or 7d"
                else:
                    self.prompt = replace(prompt, kind="reason", text="", duration=duration)
            case _:
                self.prompt = replace(prompt, kind="silence", text="", reason=prompt.text)
                return Action(name="preview", target=prompt.target)
        return None

    def tell_preview(self, sentence: str) -> None:
        """Put what a silence would have hidden into the question whether to silence."""
        if self.prompt is not None and self.prompt.kind == "silence":
            self.prompt = replace(self.prompt, text=sentence)

    # Lines --------------------------------------------------------------------------------------------------------

    def lines(self, columns: int, height: int, theme: Theme) -> list[str]:
        """Draw everything, in at most that many lines of that many cells."""
        body = self._body(height - 1, theme)
        shown = [*body[: height - 1], *[""] * (height - 1 - len(body)), self._foot()]
        return [clip(line, columns) for line in shown]

    def _body(self, room: int, theme: Theme) -> list[str]:
        if self.page is not None:
            return list(self.page)[self.scrolled : self.scrolled + room]
        if self.status is None:
            return [self.trouble or "asking the database"]
        status = matching(self.status, self.wanted)
        if self.section == "all":
            return [headline(self.status, theme), *self._everything(status, room, theme)[1:]]
        return self._rows(status, room, theme)

    def _everything(self, status: Status, room: int, theme: Theme) -> list[str]:
        lines = status_lines(status, theme, room)
        at = next((index for index, line in enumerate(lines) if line.startswith("ALERTS")), None)
        shown = 0 if at is None else sum(1 for line in _until_empty(lines[at + 1 :]) if line)
        self.drawn = [_of_alert(alert) for alert in status.alerts[:shown]]
        if at is not None and self.drawn:
            self.chosen = min(self.chosen, len(self.drawn) - 1)
            row = at + 1 + self.chosen
            lines[row] = chosen_line(lines[row])
        return lines

    def _rows(self, status: Status, room: int, theme: Theme) -> list[str]:
        head, blocks = blocks_of(self.section, status, theme)
        top = [headline(status, theme), "", head]
        self.drawn = [block.target for block in blocks]
        self.chosen = max(0, min(self.chosen, len(blocks) - 1))
        lines: list[str] = []
        for index, block in enumerate(blocks):
            first, *others = block.lines
            lines += [chosen_line(first) if index == self.chosen else first, *others]
        end = sum(len(block.lines) for block in blocks[: self.chosen + 1])
        skipped = max(0, end - (room - len(top)))
        return [*top, *(lines[skipped:] or ["  nothing to show"])]

    def _foot(self) -> str:
        if self.prompt is not None:
            return self.message or question(self.prompt, self.by)
        if self.message:
            return self.message
        if self.trouble and self.status is not None:
            return self.trouble
        words = ("PAUSED" if self.is_paused else "", f"filter: {cut(self.wanted, 20)}" if self.wanted else "")
        told = "  ".join(word for word in words if word)
        return f"{told}  {KEYS_LINE}" if told else KEYS_LINE


def question(prompt: Prompt, by: str) -> str:
    """Ask, in one line."""
    source = cut(prompt.target.source, 30) if prompt.target else ""
    match prompt.kind:
        case "filter":
            return f"filter: {prompt.text}_"
        case "ack":
            number = prompt.target.alert_id if prompt.target else None
            return f"Acknowledge #{number} {source} as {by}? y/N"
        case "duration":
            return f"Silence {source} for (30m, 2h, 7d): {prompt.text}_"
        case "reason":
            return f"Silence {source}, why: {prompt.text}_"
        case _:
            hidden = f" ({prompt.text})" if prompt.text else ""
            return f"Silence {source} for {duration_words(prompt.duration or timedelta())}?{hidden} y/N"


def chosen_line(line: str) -> str:
    """Put a pointer behind the glyph at the beginning of a row."""
    head, end, rest = line.partition(chr(PAINT_END))
    return f"{head}{end}>{rest[1:]}" if end else f">{line[1:]}"


def blocks_of(section: str, status: Status, theme: Theme) -> tuple[str, list[Block]]:
    """Give the head of a section and its rows."""
    report = status.report
    match section:
        case "alerts":
            head, *lines = alert_lines(status.alerts, len(status.alerts), theme)
            return head, [Block(target=_of_alert(alert), lines=[line]) for alert, line in zip(status.alerts, lines, strict=True)]  # fmt: skip
        case "tasks":
            return _simple(task_lines(report["tasks"], len(report["tasks"]), status.now, theme), report["tasks"], "task_type")  # fmt: skip
        case "queues":
            return _simple(queue_lines(report["queues"], len(report["queues"]), theme), report["queues"], "queue_name")
        case _:
            return _hosts(status, theme)


def _simple(lines: Sequence[str], rows: Sequence[Document], key: str) -> tuple[str, list[Block]]:
    head, *others = lines
    targets = [Target(source=row[key], alert_id=row["alert_id"]) for row in rows]
    return head, [Block(target=target, lines=[line]) for target, line in zip(targets, others, strict=True)]


def _hosts(status: Status, theme: Theme) -> tuple[str, list[Block]]:
    hosts, components = status.report["hosts"], status.report["components"]
    head, *lines = host_table(hosts, status.now, theme)
    groups: list[list[str]] = []
    for line in lines:
        if is_paint(line[0]):
            groups.append([line])
        else:
            groups[-1].append(line)
    blocks = [
        Block(target=Target(source=row["host"], alert_id=row["alert_id"]), lines=group)
        for row, group in zip(hosts, groups, strict=True)
    ]
    columns = (text_column(most=40), text_column(most=10), rest_column())
    drawn = table(columns, [_component_row(row, status.now, theme) for row in components])
    return head, [
        *blocks,
        *(
            Block(target=Target(source=row["source"], alert_id=row["alert_id"]), lines=[line])
            for row, line in zip(components, drawn, strict=True)
        ),
    ]


def _component_row(row: Document, now: datetime, theme: Theme) -> tuple[str, str, str]:
    state = OF_SEVERITY[row["severity"]] if row["severity"] or row["status"] == "healthy" else State.WARNING
    word = "SILENT" if row["is_silent"] else row["status"]
    told = f"seen {ago(row['reported_at'], now)}"
    return f"{theme.mark(state)} {cut(row['source'], 38)}", word, f"{told}  {cut(row['failure_reason'] or '', 60)}"


def matching(status: Status, wanted: str) -> Status:
    """Leave out what has not these letters in its name or its summary."""
    if not wanted:
        return status
    keys = {"tasks": "task_type", "queues": "queue_name", "hosts": "host", "components": "source"}
    kept = {kind: [row for row in status.report[kind] if _has(row, (key, "alert_summary"), wanted)] for kind, key in keys.items()}  # fmt: skip
    alerts = [alert for alert in status.alerts if _has(alert, ("source", "summary", "alert_type"), wanted)]
    return replace(status, report=status.report | kept, alerts=alerts)


def _has(row: Mapping[str, Any], keys: Sequence[str], wanted: str) -> bool:
    return any(wanted.casefold() in str(row[key] or "").casefold() for key in keys)


def _of_alert(alert: Document) -> Target:
    return Target(source=alert["source"], alert_id=alert["id"])


def _until_empty(lines: Sequence[str]) -> Sequence[str]:
    return lines[: lines.index("")] if "" in lines else lines

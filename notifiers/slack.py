"""Slack, through an incoming webhook: blocks inside an attachment, so that the push preview and the colour are there.

apprise fills a template of ours with the pieces. The template is a file because apprise reads it as one; it is
ASCII, since it is opened with whatever encoding the locale says, and every piece is JSON-escaped on its way in.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from automon.errors import AutomonError
from notifiers.channel import DeliveryError, DeliveryReason, Receipt
from notifiers.http_failure import silence_error
from notifiers.loading import load_apprise
from notifiers.message import Line, Message
from notifiers.plain import Plain, plain_text
from notifiers.text import Code, Link, Moment, render, shortened, time_words
from notifiers.words import Label, Mark

if TYPE_CHECKING:
    from notifiers.dispatch import Outcome
    from notifiers.slack_service import SlackService

TEMPLATE = Path(__file__).with_name("slack_template.json")
RECIPIENT = "webhook"
BODY_LIMIT = 2800  # Slack refuses a section over 3,000
PACE = timedelta(seconds=1)  # what Slack allows to one webhook
CONNECT_TIMEOUT = timedelta(seconds=4)
READ_TIMEOUT = timedelta(seconds=10)
EXCHANGE_LIMIT = timedelta(seconds=20)

# Slack folds what follows 700 characters or five line breaks behind "Show more". With these the headline and the
# five lines after it stay under both, however much a task has to say.
LINE_LIMITS = {
    Label.IMPACT: 125,
    Label.SEEN: 100,
    Label.TREND: 70,
    Label.ALERTS: 130,
    Label.CAUSE: 145,
    Label.NEXT: 125,
    Label.OPEN: 100,
    Label.INSTEAD: 100,
}
LINE_LIMIT = 240

TINTS = {Mark.ALARM: "#9B0F2E", Mark.WARNING: "#C77700", Mark.TAKEN: "#767676", Mark.GOOD: "#2274A5"}

_WEBHOOK = re.compile(r"https://hooks\.slack(-gov)?\.com/services/([A-Za-z0-9]+)/([A-Za-z0-9]+)/([A-Za-z0-9]+)/?")
_ZERO_WIDTH_SPACE = "\u200b"
# Slack has no escape for its markup, so what would start it is replaced by a look-alike. An underscore within a
# word starts nothing and stays: names of tasks can still be copied.
_LOOKALIKES = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "\u02cb"})
_LOOKALIKE_TICK = str.maketrans({"`": "\u02cb"})
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_EMOJI_NAME = re.compile(r":(?=[a-z0-9_+'-]+:)")


def is_webhook(url: str) -> bool:
    """Say whether a URL is a Slack incoming webhook."""
    return _WEBHOOK.fullmatch(url) is not None


def defused(text: str) -> str:
    """Take from a text all that Slack would turn into a mention, a link, an emoji or markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _EDGE_UNDERSCORE.sub(lambda match: "\u02cd" * len(match.group()), text.translate(_LOOKALIKES))
    text = _EMOJI_NAME.sub(f":{_ZERO_WIDTH_SPACE}", text)
    return text.replace("://", f":{_ZERO_WIDTH_SPACE}//").replace("@", f"@{_ZERO_WIDTH_SPACE}")


class Mrkdwn:
    """Writes fragments in Slack's markup; times become tokens that each reader sees in their own zone."""

    def __init__(self, zone: ZoneInfo, today: date) -> None:
        self.zone = zone
        self.today = today

    def words(self, text: str) -> str:
        return defused(text)

    def moment(self, moment: Moment) -> str:
        old_clients = time_words(Moment(moment.at, zoned=True), self.zone, self.today)
        return f"<!date^{int(moment.at.timestamp())}^{{date_short_pretty}} {{time}}|{old_clients}>"

    def code(self, code: Code) -> str:
        text = code.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"`{text.translate(_LOOKALIKE_TICK)}`"

    def link(self, link: Link) -> str:
        url = link.url.replace("&", "&amp;").replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")
        return f"<{url}|{defused(link.label)}>" if link.label else f"<{url}>"


class _Unmarked(Plain):
    """Plain text for the legacy form, where Slack still looks for addresses and mentions by itself."""

    def words(self, text: str) -> str:
        text = text.replace("://", f":{_ZERO_WIDTH_SPACE}//").replace("@", f"@{_ZERO_WIDTH_SPACE}")
        return re.sub(r"(?<=\w)\.(?=[A-Za-z]{2})", f".{_ZERO_WIDTH_SPACE}", text)


class SlackChannel:
    """Sends to one incoming webhook. `webhook_url` is a secret; AutomonError when it is not a webhook of Slack's."""

    def __init__(
        self,
        name: str,
        webhook_url: str,
        *,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        read_timeout: timedelta = READ_TIMEOUT,
        exchange_limit: timedelta = EXCHANGE_LIMIT,
    ) -> None:
        match = _WEBHOOK.fullmatch(webhook_url)
        if match is None:
            raise AutomonError(
                f"channel {name}: this is not the address of a Slack incoming webhook",
                hint="It looks like https://hooks.slack.com/services/T…/B…/…; Slack shows it under Incoming Webhooks.",
            )
        self.name = name
        self.pace = PACE
        self.recipients = (RECIPIENT,)
        government, first, second, third = match.groups()
        self._is_government = government is not None
        self._tokens = (first, second, third)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._exchange_limit = exchange_limit

    def send(self, message: Message, recipient: str) -> Receipt:
        """Post one message; when Slack does not like its blocks, post it once more in the plain legacy form."""
        load_apprise()
        service = self.blocks_service(message)
        outcome = self._post(service, title(message), body(message), is_text=False)
        if service.answer is not None and service.answer.status == 400:
            service = self._service(use_blocks=False)
            outcome = self._post(service, _legacy_title(message), legacy_body(message), is_text=True)
        if outcome.delivered:
            return Receipt(answer="ok", duration=outcome.duration)
        raise service.failure or _no_answer(timed_out=outcome.timed_out, handed_over=service.exchange.handed_over)

    def blocks_service(self, message: Message) -> SlackService:
        """Make apprise's Slack service that puts a message into the template."""
        from apprise.attachment.file import AttachFile

        # As an attachment object, not a path: apprise would read a path as a URL, and trip over a "%" or "?" in it.
        make: Any = AttachFile
        template = make(path=str(TEMPLATE))
        tokens = {"tint": TINTS[message.mark], "emoji": message.mark.emoji, "foot": foot(message)}
        return self._service(use_blocks=True, template=template, tokens=tokens)

    def _service(self, **options: Any) -> SlackService:
        from notifiers.slack_service import Exchange, SlackService

        exchange = Exchange(
            connect_timeout=self._connect_timeout, read_timeout=self._read_timeout, limit=self._exchange_limit
        )
        return SlackService(self._tokens, is_government=self._is_government, exchange=exchange, **options)

    def _post(self, service: SlackService, title: str, body: str, *, is_text: bool) -> Outcome:
        import apprise

        from notifiers.dispatch import dispatch

        # Without a format apprise passes our markup through; as TEXT it escapes everything itself.
        body_format = apprise.NotifyFormat.TEXT if is_text else None
        # The exchange ends by itself; but nothing ends the search for a name.
        timeout = self._exchange_limit + self._connect_timeout
        return dispatch(service, title=title, body=body, body_format=body_format, timeout=timeout)


def _no_answer(*, timed_out: bool, handed_over: bool) -> DeliveryError:
    if timed_out:
        return silence_error("Slack", handed_over=handed_over)
    return DeliveryError(DeliveryReason.UNKNOWN, uncertain=handed_over, detail="Slack: the message could not be made")


def title(message: Message) -> str:
    return defused(message.headline)


def body(message: Message) -> str:
    """Write the lines that fit, the most telling first."""
    medium = Mrkdwn(message.timezone, message.today)
    return _fitting([_marked(line, medium) for line in most_telling_first(message.lines)])


def foot(message: Message) -> str:
    return render(message.footer, Mrkdwn(message.timezone, message.today))


def legacy_body(message: Message) -> str:
    medium = _Unmarked(message.timezone, message.today)
    lines = [f"{line.label}: {render(_cut(line).text, medium)}" for line in most_telling_first(message.lines)]
    return _fitting([*lines, plain_text(message.footer, message)])


def _legacy_title(message: Message) -> str:
    unmarked = _Unmarked(message.timezone, message.today).words(message.headline)
    return f"{message.mark.emoji} {unmarked}"


def most_telling_first(lines: tuple[Line, ...]) -> list[Line]:
    """Put the first line of each label before the second ones: the next step must not fold away below three causes."""
    first = {line.label: line for line in reversed(lines)}
    return sorted(lines, key=lambda line: first[line.label] is not line)


def _marked(line: Line, medium: Mrkdwn) -> str:
    return f"*{line.label}* {render(_cut(line).text, medium)}"


def _cut(line: Line) -> Line:
    return Line(label=line.label, text=shortened(line.text, LINE_LIMITS.get(line.label, LINE_LIMIT)))


def _fitting(lines: list[str]) -> str:
    """Leave out lines from the end on until the rest is short enough; a line is never cut through its markup."""
    while len("\n".join(lines)) > BODY_LIMIT:
        lines = lines[:-1]
    return "\n".join(lines)

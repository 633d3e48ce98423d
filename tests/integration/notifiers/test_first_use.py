"""The first messages of two channels leave at the same moment, in a process that has not sent before."""

from __future__ import annotations

import subprocess
import sys

SEND_AT_ONCE = """
import sys, threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo
from notifiers.channel import DeliveryError
from notifiers.email import EmailChannel
from notifiers.message import MessageContext
from notifiers.notice import compose_test
from notifiers.slack import SlackChannel
from notifiers.smtp import Security, Server

message = compose_test(MessageContext(instance="here", timezone=ZoneInfo("UTC")), datetime.now(UTC))
nobody = Server(host="127.0.0.1", port=9, security=Security.NONE)
channels = [SlackChannel("slack", "https://hooks.slack.com/services/T0/B0/X0"), EmailChannel("email", server=nobody, sender="a@example.org", to=("b@example.org",))]
together, said = threading.Barrier(len(channels)), []

def send(channel):
    together.wait()
    try:
        channel.send(message, channel.recipients[0])
    except DeliveryError as error:
        said.append(f"{channel.name} {error.reason}")
    except BaseException as error:
        said.append(f"{channel.name} broke: {error!r}")

threads = [threading.Thread(target=send, args=[channel]) for channel in channels]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("; ".join(sorted(said)))
"""


def test_two_channels_may_send_their_first_message_at_the_same_moment() -> None:
    # Both are refused at once: the proxy and the mail server are ports where nobody listens.
    environment = {"HTTPS_PROXY": "http://127.0.0.1:9", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [sys.executable, "-c", SEND_AT_ONCE], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert "email unreachable; slack unreachable" == ran.stdout.strip()

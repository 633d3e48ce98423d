"""What befalls a database and the way to it, in campaigns of faults."""

from __future__ import annotations

import random
from typing import Protocol

from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy


class Campaign(Protocol):
    chance: random.Random

    def pause(self, shortest: float, longest: float) -> None: ...


def hurt(server: PostgresUnderTest, line: TcpProxy, campaign: Campaign, *, longest_silence: float) -> None:
    """Do one thing to the database or to the way there, and leave it healed. Seconds."""
    match campaign.chance.choice(("killed", "stopped", "cut", "deaf", "refused")):
        case "killed":
            server.kill()
            campaign.pause(0, 1)
            server.start()
        case "stopped":
            server.stop()
            campaign.pause(0, 1)
            server.start()
        case "cut":
            for _ in range(campaign.chance.randint(1, 10)):
                line.cut()
                campaign.pause(0, 0.2)
        case "deaf":
            line.go_deaf()
            campaign.pause(0, longest_silence)
            if campaign.chance.random() < 0.5:
                line.cut()
            line.allow()
        case _:
            line.refuse()
            campaign.pause(0, 2)
            line.allow()

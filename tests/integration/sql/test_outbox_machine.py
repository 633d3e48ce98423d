"""Whatever happens in whatever order, every message is told once, in order, by a channel that works, or handed on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.sql.alerting import SEVERITIES, TYPE, silence
from tests.integration.sql.outbox import LEASE, WINDOW, claim, end_service, finish_failed, finish_sent, let_pass
from tests.support.calls import DAY, HOUR, JOURNAL, MINUTE, NOON, SECOND, Calls, Row, channel

HOLDERS = ["one", "two"]
CAUSES = ["disk full", "no route to host"]
ALL = [
    channel("ops", fallback="mail", fingerprint="new"),
    channel("mail", min_severity="critical", notify_on=["opened", "escalated", "resolved"], fallback="page"),
    channel("page", notify_on=[]),
    JOURNAL,
]
CONFIGS = [
    ALL,
    [channel("ops", fingerprint="old"), JOURNAL],
    [channel("ops", recipients=["", "another"], fallback="mail"), channel("mail"), JOURNAL],
    [channel("ops")],
    [],
]
SENT = "sent"
ENDINGS: dict[str, dict[str, Any]] = {
    "again at once": {"p_retry_after": timedelta(0)},
    "perhaps sent": {"outcome": "unknown", "reason": "timed_out", "p_retry_after": MINUTE},
    "channel fails": {"p_retry_after": MINUTE, "p_channel_pause": MINUTE},
    "refused": {"reason": "rejected_content", "p_final_status": "failed"},
    "expired": {"p_final_status": "expired", "p_channel_pause": HOUR},
    "stops": {"reason": "gone", "p_stops_channel": True},
}
sources = [f"{letter}{letter}" for letter in "abcdefghijk"]
findings = st.dictionaries(st.sampled_from(sources), st.tuples(st.sampled_from(SEVERITIES), st.sampled_from(CAUSES)))
channels = st.sampled_from(["ops", "ops", "ops", "mail", "page", "journal"])
endings = st.sampled_from([SENT, SENT, SENT, *ENDINGS])

# Each finds what must not be. A delivery in a digest stands as the digest does.
STANDING = """
    standing AS (
        SELECT d.*, COALESCE(g.status, d.status) AS stands, COALESCE(g.first_attempt_at, d.first_attempt_at) AS begun_at
        FROM public.alert_deliveries d LEFT JOIN public.alert_deliveries g ON g.id = d.digest_id)
"""
MISTAKES = {
    "given up and not handed on, though another channel could speak": """
        SELECT id FROM public.alert_deliveries d
        WHERE d.status IN ('failed', 'expired') AND d.subject <> 'canary' AND d.handed_on_at IS NULL AND public.fallback_of(d.channel) IS NOT NULL""",
    "handed on to nobody": """
        SELECT id FROM standing d WHERE d.handed_on_at IS NOT NULL AND d.subject = 'transition'
        AND NOT EXISTS (SELECT FROM standing o WHERE o.transition_id = d.transition_id AND o.channel <> d.channel)""",
    "told instead of a channel that was never to tell": """
        SELECT id FROM standing d WHERE d.instead_of IS NOT NULL AND NOT EXISTS (SELECT FROM standing o WHERE o.transition_id = d.transition_id AND o.channel = d.instead_of AND o.handed_on_at IS NOT NULL)""",
    "grouped without a digest of the same recipient": """
        SELECT d.id FROM public.alert_deliveries d LEFT JOIN public.alert_deliveries g ON g.id = d.digest_id
        WHERE (d.status = 'grouped') <> (g.id IS NOT NULL) OR g.id IS NOT NULL AND (g.subject, g.channel, g.recipient) <> ('digest', d.channel, d.recipient)""",
    "a digest of fewer than two": """
        SELECT g.id FROM public.alert_deliveries g WHERE g.subject = 'digest' AND (SELECT count(*) FROM public.alert_deliveries m WHERE m.digest_id = g.id) < 2""",
    "a digest that tells twice of one alert": "SELECT digest_id FROM standing WHERE digest_id IS NOT NULL GROUP BY digest_id, alert_id HAVING count(*) > 1",
    "begun before what happened earlier to its alert": """
        SELECT d.id FROM standing d JOIN standing e ON e.alert_id = d.alert_id AND e.channel = d.channel AND e.recipient = d.recipient AND e.transition_id < d.transition_id
        WHERE d.instead_of IS NULL AND e.instead_of IS NULL AND e.begun_at > d.begun_at""",
    "begun while what happened earlier to its alert is still to be told": """
        SELECT d.id FROM standing d JOIN standing e ON e.alert_id = d.alert_id AND e.channel = d.channel AND e.recipient = d.recipient AND e.transition_id < d.transition_id
        WHERE d.instead_of IS NULL AND e.instead_of IS NULL AND d.begun_at IS NOT NULL AND e.stands IN ('pending', 'sending')""",
    "waiting for a stopped channel, though another could speak": """
        SELECT d.id FROM standing d JOIN public.notification_channels c ON c.name = d.channel
        WHERE c.stopped_at IS NOT NULL AND d.stands = 'pending' AND d.subject = 'transition' AND d.handed_on_at IS NULL AND public.fallback_of(d.channel) IS NOT NULL""",
    "attempts that are not on record": """
        SELECT d.id FROM public.alert_deliveries d
        WHERE (SELECT COALESCE(array_agg(DISTINCT a.attempt ORDER BY a.attempt), '{}') FROM public.delivery_attempts a WHERE a.delivery_id = d.id)
            <> ARRAY(SELECT generate_series(1, d.attempts - (d.status = 'sending')::integer))""",
    "not in the view, or otherwise": """
        SELECT COALESCE(d.id, v.id) FROM standing d FULL JOIN public.v_deliveries v ON v.id = d.id WHERE d.id IS NULL OR v.id IS NULL OR v.status <> d.stands""",
    "told too much within the window": """
        SELECT min(id) FROM public.alert_deliveries WHERE subject <> 'canary' AND first_attempt_at > clock_timestamp() - interval '20 seconds'
        GROUP BY channel, recipient HAVING count(*) > 5""",
    "a cause told too often within the window": """
        SELECT min(id) FROM public.alert_deliveries WHERE subject <> 'canary' AND cause <> '' AND first_attempt_at > clock_timestamp() - interval '20 seconds'
        GROUP BY channel, recipient, cause HAVING count(*) > 3""",
    "waiting for a channel that there is not": """
        SELECT d.id FROM public.alert_deliveries d WHERE d.status = 'pending' AND NOT EXISTS (SELECT FROM public.notification_channels c WHERE c.name = d.channel AND d.recipient = ANY (c.recipients))
        AND NOT EXISTS (SELECT FROM public.delivery_attempts a WHERE a.delivery_id = d.id)""",
}
FIND_MISTAKES = f"WITH {STANDING} " + " UNION ALL ".join(
    f"SELECT '{name}' AS mistake, id FROM ({query}) AS found (id)" for name, query in MISTAKES.items()
)
# What each channel is to hear of the transitions that came since the last look, and does not.
MISSED = """
    SELECT t.id, c.name FROM public.alert_transitions t JOIN public.alerts a ON a.id = t.alert_id CROSS JOIN public.notification_channels c CROSS JOIN unnest(c.recipients) AS recipient
    WHERE t.id > %s AND t.kind = ANY (c.notify_on) AND NOT (a.alert_type = 'automon_channel' AND a.source = c.name AND t.kind <> 'resolved')
      AND public.severity_rank(CASE t.kind WHEN 'resolved' THEN a.peak_severity WHEN 'eased' THEN t.previous_severity ELSE t.severity END) >= public.severity_rank(c.min_severity)
      AND NOT EXISTS (SELECT FROM public.alert_deliveries d WHERE d.transition_id = t.id AND d.channel = c.name AND d.recipient = recipient)
"""
HELD = """
    SELECT d.id FROM public.alert_deliveries d WHERE d.status = 'sending' AND d.lease_until > clock_timestamp() AND NOT public.instance_is_gone(d.claimed_by, clock_timestamp())
"""


class OutboxMachine(RuleBasedStateMachine):
    """Eleven sources, two services that send, of which either may die, channels that fail and are repaired, and time."""

    calls: Calls  # of the test that runs the machine

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.claims: list[tuple[int, str]] = []
        self.calls.ask("TRUNCATE public.alerts, public.alert_deliveries, public.alert_silences, public.service_instances, public.watch_state CASCADE")  # fmt: skip
        self.calls.configure(channels=[])
        self.calls.configure(channels=ALL)
        self.transitions = self.newest_transition()
        self.beat()

    def newest_transition(self) -> int:
        return int(self.calls.one("SELECT COALESCE(max(id), 0) FROM public.alert_transitions"))

    def beat(self) -> None:
        for holder in HOLDERS:
            self.calls("beat", holder, p_why=None)

    def state_of(self, name: str) -> Row | None:
        rows = self.calls.ask("SELECT name, stopped_at, failures FROM public.notification_channels WHERE name = %s", name)  # fmt: skip
        return rows[0] if rows else None

    # What happens to alerts ----------------------------------------------------------------------------------

    def apply(self, found: dict[str, tuple[str, str]]) -> None:
        finding = f"('{TYPE}', %s, %s, 1.0, 1.0, 'errors/h', 'bad', jsonb_build_object('top', jsonb_build_array(jsonb_build_object('what', 'E', 'message', %s::text))))::public.monitoring_finding"
        rows = [value for source, (severity, cause) in found.items() for value in (source, severity, cause)]
        self.calls.ask(
            f"SELECT public.apply_findings(ARRAY['{TYPE}'], ARRAY[{', '.join([finding] * len(found))}]::public.monitoring_finding[], %s)",
            *rows,
            self.now,
        )

    @rule(found=findings, pause=st.sampled_from([SECOND, 5 * MINUTE, 61 * MINUTE]))
    def check(self, found: dict[str, tuple[str, str]], pause: timedelta) -> None:
        self.now += pause
        self.apply(found)

    @rule(severity=st.sampled_from(SEVERITIES), cause=st.sampled_from(CAUSES))
    def burst(self, severity: str, cause: str) -> None:
        self.now += SECOND
        self.apply(
            {source: (severity, cause if number < 5 else f"{source} failed") for number, source in enumerate(sources)}
        )

    # What happens to messages --------------------------------------------------------------------------------

    @rule(name=channels, holder=st.sampled_from(HOLDERS), lease=st.sampled_from([LEASE, timedelta(0)]))
    def claim(self, name: str, holder: str, lease: timedelta) -> None:
        held = {row["id"] for row in self.calls.ask(HELD)}
        state, pause = self.state_of(name), self.calls("next_delivery_in", name)
        message = claim(self.calls, holder, name=name, lease=lease)
        if message is None:
            assert pause is None or pause > timedelta(0)
            return
        assert state is not None
        assert state["stopped_at"] is None
        assert message["channel"] == name
        assert message["channel_failures"] == state["failures"]
        assert message["delivery_id"] not in held
        assert message["subject"] != "digest" or message["alerts"] == message["transitions"] >= 2
        self.claims.append((message["delivery_id"], holder))

    def end(self, number: int, holder: str, ending: str) -> bool:
        if ending == SENT:
            return finish_sent(self.calls, number, holder)
        return finish_failed(self.calls, number, holder, **ENDINGS[ending])

    @rule(name=channels, ends=st.lists(endings, min_size=1, max_size=6))
    def send(self, name: str, ends: list[str]) -> None:
        for ending in ends:
            message = claim(self.calls, "one", name=name)
            if message is not None:
                assert self.end(message["delivery_id"], "one", ending) is True

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), ending=endings)
    def finish(self, data: st.DataObject, ending: str) -> None:
        """Finish one of the claims, which its holder may have lost."""
        number, holder = data.draw(st.sampled_from(self.claims))
        self.claims.remove((number, holder))
        query = "SELECT status = 'sending' AND claimed_by = %s AS is_ours, status = 'pending' AS waits FROM public.alert_deliveries WHERE id = %s"
        [before] = self.calls.ask(query, holder, number)
        counts = self.end(number, holder, ending)
        assert counts is before["is_ours"] or (ending == SENT and before["waits"])

    # What happens around them --------------------------------------------------------------------------------

    @rule(span=st.sampled_from([SECOND, WINDOW, WINDOW, 3 * MINUTE, 11 * MINUTE, HOUR, DAY]))
    def pass_time(self, span: timedelta) -> None:
        let_pass(self.calls, span)
        self.beat()

    @rule()
    def check_self(self) -> None:
        self.calls("tend_deliveries")
        self.calls("check_automon_alerts", self.calls.one("SELECT clock_timestamp()"))

    @rule(data=st.data(), what=st.sampled_from(["act", "silence", "canary", "die", "resume", "configure"]))
    def meddle(self, data: st.DataObject, what: str) -> None:
        getattr(self, what)(data)

    def act(self, data: st.DataObject) -> None:
        numbers = [row["id"] for row in self.calls.ask("SELECT id FROM public.v_active_alerts ORDER BY id")]
        if numbers:
            what = data.draw(st.sampled_from(["acknowledge_alert", "resolve_alert"]))
            self.calls(what, data.draw(st.sampled_from(numbers)), "kim")

    def silence(self, data: st.DataObject) -> None:
        silence(self.calls, 1, at=self.now, source=data.draw(st.sampled_from([*sources, "*"])))

    def canary(self, data: st.DataObject) -> None:
        self.calls.rows("send_canary", "kim")

    def die(self, data: st.DataObject) -> None:
        end_service(self.calls, data.draw(st.sampled_from(HOLDERS)))

    def resume(self, data: st.DataObject) -> None:
        name = data.draw(channels)
        if self.state_of(name):
            self.calls("resume_channel", name)
            assert self.state_of(name) == {"name": name, "stopped_at": None, "failures": 0}

    def configure(self, data: st.DataObject) -> None:
        self.calls.configure(channels=data.draw(st.sampled_from(CONFIGS)))

    # What must be --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong_with_any_message(self) -> None:
        assert self.calls.ask(FIND_MISTAKES) == []

    @invariant()
    def every_channel_gets_what_it_is_for(self) -> None:
        assert self.calls.ask(MISSED, self.transitions) == []
        self.transitions = self.newest_transition()

    def teardown(self) -> None:
        """When all is repaired, all that was not silenced is told, and nothing is left."""
        for holder in HOLDERS:
            end_service(self.calls, holder)
        self.calls.configure(channels=ALL)
        for name in ("ops", "mail", "page", "journal"):
            self.calls("resume_channel", name)
        while self.calls.one("SELECT count(*) FROM public.alert_deliveries WHERE status IN ('pending', 'sending')"):
            self.calls("tend_deliveries")
            sent = [self.send_one(name) for name in ("ops", "mail", "page", "journal")]
            if not any(sent):
                let_pass(self.calls, WINDOW)
        # Nobody speaks for the journal: what it has given up is lost.
        untold = f"""
            WITH {STANDING} SELECT transition_id FROM standing WHERE transition_id IS NOT NULL
            GROUP BY 1 HAVING NOT bool_or(stands IN ('sent', 'silenced') OR channel = 'journal' AND stands IN ('failed', 'expired'))
        """
        assert self.calls.ask(untold) == []
        self.nothing_is_wrong_with_any_message()

    def send_one(self, name: str) -> bool:
        message = claim(self.calls, "last", name=name)
        return message is not None and finish_sent(self.calls, message["delivery_id"], "last")


def test_no_message_is_lost_or_told_twice_whatever_happens(calls: Calls) -> None:
    machine = type("Machine", (OutboxMachine,), {"calls": calls})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

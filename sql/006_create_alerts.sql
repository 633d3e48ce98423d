-- What automon remembers and says: alerts, their transitions, silences, channels, deliveries; and about itself: the
-- services that run, their job runs, and when none of them saw the database.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE SEQUENCE IF NOT EXISTS alerts_id_seq;

CREATE TABLE IF NOT EXISTS alerts (
    id                bigint      PRIMARY KEY DEFAULT nextval('alerts_id_seq'),
    alert_type        text        NOT NULL,
    source            text        NOT NULL,
    severity          text        NOT NULL,
    summary           text        NOT NULL,
    value             double precision,
    threshold         double precision,
    unit              text        NOT NULL,
    evidence          jsonb       NOT NULL,
    cause             text        NOT NULL,
    opened_at         timestamptz NOT NULL,
    last_seen_at      timestamptz NOT NULL,
    peak_severity     text        NOT NULL,
    peak_value        double precision,
    peak_summary      text        NOT NULL,
    peak_at           timestamptz NOT NULL,
    clear_since       timestamptz,
    last_told_at      timestamptz,
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    acknowledged_note text,
    resolved_at       timestamptz,
    resolved_by       text,
    CONSTRAINT severity_is_known CHECK (severity IN ('low', 'medium', 'high', 'critical') AND peak_severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT acknowledged_by_someone CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CONSTRAINT resolved_by_set_iff_resolved CHECK ((resolved_at IS NULL) = (resolved_by IS NULL)),
    CONSTRAINT resolved_after_opened CHECK (resolved_at >= opened_at)
);
COMMENT ON TABLE alerts IS 'What is wrong, or was: at most one open alert for each (alert_type, source). value and threshold in the unit that stands beside them; alerts of one cause are told together when they are many.';
CREATE UNIQUE INDEX IF NOT EXISTS one_open_alert_per_source ON alerts (alert_type, source) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_opened_at ON alerts (opened_at);
CREATE INDEX IF NOT EXISTS open_alerts_worst_first ON alerts (severity_rank(severity) DESC, opened_at) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_resolved_at ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE SEQUENCE IF NOT EXISTS alert_transitions_id_seq;

CREATE TABLE IF NOT EXISTS alert_transitions (
    id                bigint      PRIMARY KEY DEFAULT nextval('alert_transitions_id_seq'),
    alert_id          bigint      NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    kind              text        NOT NULL,
    at                timestamptz NOT NULL,
    severity          text        NOT NULL,
    previous_severity text,
    summary           text        NOT NULL,
    value             double precision,
    threshold         double precision,
    evidence          jsonb       NOT NULL,
    actor             text,
    note              text,
    CONSTRAINT kind_is_known CHECK (kind IN ('opened', 'escalated', 'eased', 'acknowledged', 'reminded', 'resolved'))
);
COMMENT ON TABLE alert_transitions IS 'Every change of every alert, with what was measured at that moment. Append-only.';
CREATE INDEX IF NOT EXISTS alert_transitions_alert ON alert_transitions (alert_id, id);

CREATE SEQUENCE IF NOT EXISTS alert_silences_id_seq;

CREATE TABLE IF NOT EXISTS alert_silences (
    id         bigint      PRIMARY KEY DEFAULT nextval('alert_silences_id_seq'),
    alert_type text        NOT NULL,
    source     text        NOT NULL,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    created_by text        NOT NULL,
    reason     text        NOT NULL,
    CONSTRAINT ends_after_start CHECK (ends_at >= starts_at)
);
COMMENT ON TABLE alert_silences IS 'Who silenced what until when, and why. * stands for every alert type or every source.';
CREATE INDEX IF NOT EXISTS alert_silences_ends_at ON alert_silences (ends_at);

CREATE TABLE IF NOT EXISTS notification_channels (
    name           text        PRIMARY KEY,
    recipients     text[]      NOT NULL,
    min_severity   text        NOT NULL,
    notify_on      text[]      NOT NULL,
    fallback       text,
    fallback_after interval    NOT NULL DEFAULT '10 minutes',
    fingerprint    text        NOT NULL DEFAULT '',
    updated_at     timestamptz NOT NULL DEFAULT now(),
    next_send_at   timestamptz NOT NULL DEFAULT to_timestamp(0),
    pause          interval    NOT NULL DEFAULT '0',
    failures       integer     NOT NULL DEFAULT 0,
    failing_since  timestamptz,
    stopped_at     timestamptz,
    last_error     text,
    CONSTRAINT severity_is_known CHECK (min_severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT failing_iff_failures CHECK ((failing_since IS NULL) = (failures = 0)),
    CONSTRAINT stopped_with_a_reason CHECK (stopped_at IS NULL OR last_error IS NOT NULL)
);
COMMENT ON TABLE notification_channels IS
    'The channels in use, as the service read them from its config: who is told of what, and how each fares. Addresses and secrets stay with the service; fingerprint tells that they have changed. fallback NULL: the journal.';

CREATE SEQUENCE IF NOT EXISTS alert_deliveries_id_seq;

CREATE TABLE IF NOT EXISTS alert_deliveries (
    id               bigint      PRIMARY KEY DEFAULT nextval('alert_deliveries_id_seq'),
    subject          text        NOT NULL DEFAULT 'transition',
    transition_id    bigint      REFERENCES alert_transitions (id) ON DELETE CASCADE,
    alert_id         bigint,
    digest_id        bigint      REFERENCES alert_deliveries (id) ON DELETE SET NULL,
    asked_by         text,
    cause            text        NOT NULL DEFAULT '',
    channel          text        NOT NULL,
    recipient        text        NOT NULL,
    instead_of       text,
    status           text        NOT NULL,
    created_at       timestamptz NOT NULL,
    next_attempt_at  timestamptz NOT NULL,
    pause            interval    NOT NULL DEFAULT '0',
    attempts         integer     NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    claimed_at       timestamptz,
    claimed_by       text,
    lease_until      timestamptz,
    uncertain        boolean     NOT NULL DEFAULT false,
    handed_on_at     timestamptz,
    finished_at      timestamptz,
    last_error       text,
    CONSTRAINT subject_is_known CHECK (subject IN ('transition', 'digest', 'canary')),
    CONSTRAINT transition_set_iff_its_subject CHECK ((subject = 'transition') = (transition_id IS NOT NULL) AND (transition_id IS NULL) = (alert_id IS NULL)),
    CONSTRAINT asked_by_set_iff_canary CHECK ((subject = 'canary') = (asked_by IS NOT NULL)),
    CONSTRAINT status_is_known CHECK (status IN ('pending', 'sending', 'sent', 'grouped', 'failed', 'expired', 'silenced')),
    CONSTRAINT only_transitions_are_grouped CHECK (status <> 'grouped' OR subject = 'transition'),
    CONSTRAINT leased_iff_sending CHECK ((status = 'sending') = (lease_until IS NOT NULL)),
    CONSTRAINT finished_at_set_iff_done CHECK ((finished_at IS NULL) = (status IN ('pending', 'sending'))),
    CONSTRAINT one_delivery_per_transition_and_recipient UNIQUE (transition_id, channel, recipient)
);
COMMENT ON TABLE alert_deliveries IS
    'The outbox: one row for each transition, channel and recipient; a digest is one more row that its members (grouped) name. uncertain: an earlier attempt may have arrived. handed_on_at: the fallback was told instead.';
CREATE INDEX IF NOT EXISTS alert_deliveries_open ON alert_deliveries (channel, next_attempt_at, id) WHERE status IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS alert_deliveries_alert ON alert_deliveries (alert_id, channel, recipient, transition_id);
CREATE INDEX IF NOT EXISTS alert_deliveries_unsaid ON alert_deliveries (channel) WHERE handed_on_at IS NULL AND status IN ('pending', 'sending', 'failed', 'expired');
CREATE INDEX IF NOT EXISTS alert_deliveries_digest ON alert_deliveries (digest_id) WHERE digest_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS alert_deliveries_begun ON alert_deliveries (channel, first_attempt_at) WHERE first_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS alert_deliveries_without_alert ON alert_deliveries (finished_at) WHERE transition_id IS NULL;

CREATE SEQUENCE IF NOT EXISTS delivery_attempts_id_seq;

CREATE TABLE IF NOT EXISTS delivery_attempts (
    id               bigint           PRIMARY KEY DEFAULT nextval('delivery_attempts_id_seq'),
    delivery_id      bigint           NOT NULL REFERENCES alert_deliveries (id) ON DELETE CASCADE,
    attempt          integer          NOT NULL,
    instance         text             NOT NULL,
    finished_at      timestamptz      NOT NULL,
    duration_seconds double precision NOT NULL,
    outcome          text             NOT NULL,
    reason           text,
    detail           text             NOT NULL,
    CONSTRAINT outcome_is_known CHECK (outcome IN ('sent', 'failed', 'unknown')),
    CONSTRAINT reason_is_known CHECK (reason IN ('refused', 'rate_limited', 'unreachable', 'timed_out', 'bad_credentials', 'rejected_content', 'gone', 'misconfigured', 'abandoned', 'unknown')),
    CONSTRAINT reason_set_iff_not_sent CHECK ((outcome = 'sent') = (reason IS NULL))
);
COMMENT ON TABLE delivery_attempts IS
    'Every attempt to deliver: when it ended, how long it took, how it ended (unknown: it may have arrived), and what the other side answered, without secrets. abandoned: its sender ended before it could say.';
CREATE INDEX IF NOT EXISTS delivery_attempts_delivery ON delivery_attempts (delivery_id);

CREATE TABLE IF NOT EXISTS service_instances (
    instance    text        PRIMARY KEY,
    version     text        NOT NULL,
    started_at  timestamptz NOT NULL,
    beat_at     timestamptz NOT NULL,
    lease_until timestamptz NOT NULL
);
COMMENT ON TABLE service_instances IS 'The services that run on this database, or ran within a day. What one has claimed is taken over when its lease has ended.';

CREATE TABLE IF NOT EXISTS watch_state (
    only_row   boolean     PRIMARY KEY DEFAULT true,
    seen_at    timestamptz NOT NULL,
    seen_until timestamptz NOT NULL,
    CONSTRAINT one_row CHECK (only_row)
);
COMMENT ON TABLE watch_state IS 'When somebody last watched (a service''s beat, or a check without a service), and until when that is good for. No row: no service has ever run here.';

CREATE SEQUENCE IF NOT EXISTS blind_periods_id_seq;

CREATE TABLE IF NOT EXISTS blind_periods (
    id         bigint      PRIMARY KEY DEFAULT nextval('blind_periods_id_seq'),
    began_at   timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    why        text        NOT NULL,
    alert_id   bigint,
    judged     bigint      NOT NULL DEFAULT 0,
    is_told    boolean     NOT NULL DEFAULT false,
    CONSTRAINT ends_after_start CHECK (ended_at > began_at)
);
COMMENT ON TABLE blind_periods IS 'When automon saw nothing: no beat of any service reached the database. judged: how many facts of that time were known when it was last judged.';
CREATE INDEX IF NOT EXISTS blind_periods_ended_at ON blind_periods (ended_at);

CREATE SEQUENCE IF NOT EXISTS job_runs_id_seq;

CREATE TABLE IF NOT EXISTS job_runs (
    id          bigint      PRIMARY KEY DEFAULT nextval('job_runs_id_seq'),
    job         text        NOT NULL,
    instance    text        NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    outcome     text        NOT NULL DEFAULT 'running',
    counts      jsonb       NOT NULL DEFAULT '{}',
    error       text,
    CONSTRAINT outcome_is_known CHECK (outcome IN ('running', 'succeeded', 'failed', 'abandoned')),
    CONSTRAINT finished_at_set_iff_finished CHECK ((finished_at IS NULL) = (outcome = 'running'))
);
COMMENT ON TABLE job_runs IS 'The runs of automon''s own jobs: which instance ran what, when, and what came of it. abandoned: its service ended in the middle, and another took the job over.';
CREATE INDEX IF NOT EXISTS job_runs_job ON job_runs (job, started_at);
CREATE INDEX IF NOT EXISTS job_runs_started_at ON job_runs (started_at);

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_transitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_silences ENABLE ROW LEVEL SECURITY;
ALTER TABLE notification_channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE service_instances ENABLE ROW LEVEL SECURITY;
ALTER TABLE watch_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE blind_periods ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_runs ENABLE ROW LEVEL SECURITY;

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;

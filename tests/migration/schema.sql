-- What the files in sql/ make, without day partitions, function bodies and view definitions (they stand in sql/).
-- Written by `AUTOMON_RENEW_SCHEMA_DUMP=1 pytest tests/migration/test_schema_dump.py`; a test compares it with a migrated database.

TABLE alert_deliveries ROW LEVEL SECURITY
    -- The outbox: one row for each transition, channel and recipient; a digest is one more row that its members (grouped) name. uncertain: an earlier attempt may have arrived. handed_on_at: the fallback was told instead.
    id bigint NOT NULL DEFAULT nextval('alert_deliveries_id_seq'::regclass)
    subject text NOT NULL DEFAULT 'transition'::text
    transition_id bigint
    alert_id bigint
    digest_id bigint
    asked_by text
    cause text NOT NULL DEFAULT ''::text
    channel text NOT NULL
    recipient text NOT NULL
    instead_of text
    status text NOT NULL
    created_at timestamp with time zone NOT NULL
    next_attempt_at timestamp with time zone NOT NULL
    pause interval NOT NULL DEFAULT '00:00:00'::interval
    attempts integer NOT NULL DEFAULT 0
    first_attempt_at timestamp with time zone
    claimed_at timestamp with time zone
    claimed_by text
    lease_until timestamp with time zone
    uncertain boolean NOT NULL DEFAULT false
    handed_on_at timestamp with time zone
    finished_at timestamp with time zone
    last_error text
    CONSTRAINT alert_deliveries_digest_id_fkey FOREIGN KEY (digest_id) REFERENCES alert_deliveries(id) ON DELETE SET NULL
    CONSTRAINT alert_deliveries_pkey PRIMARY KEY (id)
    CONSTRAINT alert_deliveries_transition_id_fkey FOREIGN KEY (transition_id) REFERENCES alert_transitions(id) ON DELETE CASCADE
    CONSTRAINT asked_by_set_iff_canary CHECK (((subject = 'canary'::text) = (asked_by IS NOT NULL)))
    CONSTRAINT finished_at_set_iff_done CHECK (((finished_at IS NULL) = (status = ANY (ARRAY['pending'::text, 'sending'::text]))))
    CONSTRAINT leased_iff_sending CHECK (((status = 'sending'::text) = (lease_until IS NOT NULL)))
    CONSTRAINT one_delivery_per_transition_and_recipient UNIQUE (transition_id, channel, recipient)
    CONSTRAINT only_transitions_are_grouped CHECK (((status <> 'grouped'::text) OR (subject = 'transition'::text)))
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['pending'::text, 'sending'::text, 'sent'::text, 'grouped'::text, 'failed'::text, 'expired'::text, 'silenced'::text])))
    CONSTRAINT subject_is_known CHECK ((subject = ANY (ARRAY['transition'::text, 'digest'::text, 'canary'::text])))
    CONSTRAINT transition_set_iff_its_subject CHECK ((((subject = 'transition'::text) = (transition_id IS NOT NULL)) AND ((transition_id IS NULL) = (alert_id IS NULL))))
    CREATE INDEX alert_deliveries_alert ON alert_deliveries USING btree (alert_id, channel, recipient, transition_id)
    CREATE INDEX alert_deliveries_begun ON alert_deliveries USING btree (channel, first_attempt_at) WHERE (first_attempt_at IS NOT NULL)
    CREATE INDEX alert_deliveries_digest ON alert_deliveries USING btree (digest_id) WHERE (digest_id IS NOT NULL)
    CREATE INDEX alert_deliveries_open ON alert_deliveries USING btree (channel, next_attempt_at, id) WHERE (status = ANY (ARRAY['pending'::text, 'sending'::text]))
    CREATE UNIQUE INDEX alert_deliveries_pkey ON alert_deliveries USING btree (id)
    CREATE INDEX alert_deliveries_unsaid ON alert_deliveries USING btree (channel) WHERE ((handed_on_at IS NULL) AND (status = ANY (ARRAY['pending'::text, 'sending'::text, 'failed'::text, 'expired'::text])))
    CREATE INDEX alert_deliveries_without_alert ON alert_deliveries USING btree (finished_at) WHERE (transition_id IS NULL)
    CREATE UNIQUE INDEX one_delivery_per_transition_and_recipient ON alert_deliveries USING btree (transition_id, channel, recipient)

SEQUENCE alert_deliveries_id_seq

TABLE alert_silences ROW LEVEL SECURITY
    -- Who silenced what until when, and why. * stands for every alert type or every source.
    id bigint NOT NULL DEFAULT nextval('alert_silences_id_seq'::regclass)
    alert_type text NOT NULL
    source text NOT NULL
    starts_at timestamp with time zone NOT NULL
    ends_at timestamp with time zone NOT NULL
    created_by text NOT NULL
    reason text NOT NULL
    ended_by text  -- Who ended it before its time; empty for one that has run its course.
    CONSTRAINT alert_silences_pkey PRIMARY KEY (id)
    CONSTRAINT ends_after_start CHECK ((ends_at >= starts_at))
    CREATE INDEX alert_silences_ends_at ON alert_silences USING btree (ends_at)
    CREATE UNIQUE INDEX alert_silences_pkey ON alert_silences USING btree (id)

SEQUENCE alert_silences_id_seq

TABLE alert_transitions ROW LEVEL SECURITY
    -- Every change of every alert, with what was measured at that moment. Append-only.
    id bigint NOT NULL DEFAULT nextval('alert_transitions_id_seq'::regclass)
    alert_id bigint NOT NULL
    kind text NOT NULL
    at timestamp with time zone NOT NULL
    severity text NOT NULL
    previous_severity text
    summary text NOT NULL
    value double precision
    threshold double precision
    evidence jsonb NOT NULL
    actor text
    note text
    CONSTRAINT alert_transitions_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES alerts(id) ON DELETE CASCADE
    CONSTRAINT alert_transitions_pkey PRIMARY KEY (id)
    CONSTRAINT kind_is_known CHECK ((kind = ANY (ARRAY['opened'::text, 'escalated'::text, 'eased'::text, 'acknowledged'::text, 'unacknowledged'::text, 'reminded'::text, 'resolved'::text]))) NOT VALID
    CREATE INDEX alert_transitions_alert ON alert_transitions USING btree (alert_id, id)
    CREATE UNIQUE INDEX alert_transitions_pkey ON alert_transitions USING btree (id)

SEQUENCE alert_transitions_id_seq

TABLE alerts ROW LEVEL SECURITY
    -- What is wrong, or was: at most one open alert for each (alert_type, source). value and threshold in the unit that stands beside them; alerts of one cause are told together when they are many.
    id bigint NOT NULL DEFAULT nextval('alerts_id_seq'::regclass)
    alert_type text NOT NULL
    source text NOT NULL
    severity text NOT NULL
    summary text NOT NULL
    value double precision
    threshold double precision
    unit text NOT NULL
    evidence jsonb NOT NULL
    cause text NOT NULL
    opened_at timestamp with time zone NOT NULL
    last_seen_at timestamp with time zone NOT NULL
    peak_severity text NOT NULL
    peak_value double precision
    peak_summary text NOT NULL
    peak_at timestamp with time zone NOT NULL
    clear_since timestamp with time zone
    last_told_at timestamp with time zone
    acknowledged_at timestamp with time zone
    acknowledged_by text
    acknowledged_note text
    resolved_at timestamp with time zone
    resolved_by text
    CONSTRAINT acknowledged_by_someone CHECK (((acknowledged_at IS NULL) = (acknowledged_by IS NULL)))
    CONSTRAINT alerts_pkey PRIMARY KEY (id)
    CONSTRAINT resolved_after_opened CHECK ((resolved_at >= opened_at))
    CONSTRAINT resolved_by_set_iff_resolved CHECK (((resolved_at IS NULL) = (resolved_by IS NULL)))
    CONSTRAINT severity_is_known CHECK (((severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])) AND (peak_severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text]))))
    CREATE INDEX alerts_opened_at ON alerts USING btree (opened_at)
    CREATE UNIQUE INDEX alerts_pkey ON alerts USING btree (id)
    CREATE INDEX alerts_resolved_at ON alerts USING btree (resolved_at) WHERE (resolved_at IS NOT NULL)
    CREATE UNIQUE INDEX one_open_alert_per_source ON alerts USING btree (alert_type, source) WHERE (resolved_at IS NULL)
    CREATE INDEX open_alerts_worst_first ON alerts USING btree (severity_rank(severity) DESC, opened_at) WHERE (resolved_at IS NULL)

SEQUENCE alerts_id_seq

TABLE blind_periods ROW LEVEL SECURITY
    -- When automon saw nothing: no beat of any service reached the database. judged: how many facts of that time were known when it was last judged.
    id bigint NOT NULL DEFAULT nextval('blind_periods_id_seq'::regclass)
    began_at timestamp with time zone NOT NULL
    ended_at timestamp with time zone NOT NULL
    why text NOT NULL
    alert_id bigint
    judged bigint NOT NULL DEFAULT 0
    is_told boolean NOT NULL DEFAULT false
    CONSTRAINT blind_periods_pkey PRIMARY KEY (id)
    CONSTRAINT ends_after_start CHECK ((ended_at > began_at))
    CREATE INDEX blind_periods_ended_at ON blind_periods USING btree (ended_at)
    CREATE UNIQUE INDEX blind_periods_pkey ON blind_periods USING btree (id)

SEQUENCE blind_periods_id_seq

TABLE config_changes ROW LEVEL SECURITY
    -- What became of each edit of a config file (noticed at a start, by the watch or at a reload), each change by SQL past the file (sql), and what of that a service put back (sync). actor: of a file its owner, who need not have written it; else the user of the database session. changes: [{key, old, new, line}]; problems: [{line, column, key, message, allowed}].
    id bigint NOT NULL DEFAULT nextval('config_changes_id_seq'::regclass)
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
    noticed_by text NOT NULL
    outcome text NOT NULL DEFAULT 'accepted'::text
    actor text NOT NULL
    instance text
    host text
    path text
    file_changed_at timestamp with time zone
    changes jsonb NOT NULL DEFAULT '[]'::jsonb
    problems jsonb NOT NULL DEFAULT '[]'::jsonb
    CONSTRAINT config_changes_pkey PRIMARY KEY (id)
    CONSTRAINT file_set_iff_judged_by_a_service CHECK (((noticed_by = ANY (ARRAY['start'::text, 'watch'::text, 'reload'::text])) = ((instance IS NOT NULL) AND (host IS NOT NULL) AND (path IS NOT NULL))))
    CONSTRAINT noticed_by_is_known CHECK ((noticed_by = ANY (ARRAY['start'::text, 'watch'::text, 'reload'::text, 'sync'::text, 'sql'::text])))
    CONSTRAINT outcome_is_known CHECK ((outcome = ANY (ARRAY['accepted'::text, 'rejected'::text])))
    CONSTRAINT problems_iff_rejected CHECK (((outcome = 'rejected'::text) = (problems <> '[]'::jsonb)))
    CREATE INDEX config_changes_at ON config_changes USING btree (at)
    CREATE INDEX config_changes_instance ON config_changes USING btree (instance, id)
    CREATE UNIQUE INDEX config_changes_pkey ON config_changes USING btree (id)

SEQUENCE config_changes_id_seq

TABLE config_files ROW LEVEL SECURITY
    -- What each config file said when it was last accepted, by key and without secrets: what it says at the next start is compared with this.
    host text NOT NULL
    path text NOT NULL
    accepted_at timestamp with time zone NOT NULL
    entries jsonb NOT NULL
    CONSTRAINT config_files_pkey PRIMARY KEY (host, path)
    CREATE UNIQUE INDEX config_files_pkey ON config_files USING btree (host, path)

TABLE config_in_force ROW LEVEL SECURITY
    -- The thresholds and settings that a service put in force last. No row: none has.
    only_row boolean NOT NULL DEFAULT true
    synced_at timestamp with time zone NOT NULL
    document jsonb NOT NULL
    CONSTRAINT config_in_force_pkey PRIMARY KEY (only_row)
    CONSTRAINT one_row CHECK (only_row)
    CREATE UNIQUE INDEX config_in_force_pkey ON config_in_force USING btree (only_row)

TABLE delivery_attempts ROW LEVEL SECURITY
    -- Every attempt to deliver: when it ended, how long it took, how it ended (unknown: it may have arrived), and what the other side answered, without secrets. abandoned: its sender ended before it could say.
    id bigint NOT NULL DEFAULT nextval('delivery_attempts_id_seq'::regclass)
    delivery_id bigint NOT NULL
    attempt integer NOT NULL
    instance text NOT NULL
    finished_at timestamp with time zone NOT NULL
    duration_seconds double precision NOT NULL
    outcome text NOT NULL
    reason text
    detail text NOT NULL
    CONSTRAINT delivery_attempts_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES alert_deliveries(id) ON DELETE CASCADE
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (id)
    CONSTRAINT outcome_is_known CHECK ((outcome = ANY (ARRAY['sent'::text, 'failed'::text, 'unknown'::text])))
    CONSTRAINT reason_is_known CHECK ((reason = ANY (ARRAY['refused'::text, 'rate_limited'::text, 'unreachable'::text, 'timed_out'::text, 'bad_credentials'::text, 'rejected_content'::text, 'gone'::text, 'misconfigured'::text, 'abandoned'::text, 'unknown'::text])))
    CONSTRAINT reason_set_iff_not_sent CHECK (((outcome = 'sent'::text) = (reason IS NULL)))
    CREATE INDEX delivery_attempts_delivery ON delivery_attempts USING btree (delivery_id)
    CREATE UNIQUE INDEX delivery_attempts_pkey ON delivery_attempts USING btree (id)

SEQUENCE delivery_attempts_id_seq

TYPE error_fact
    -- An error in a document: what is wrong with it, or what is to be stored of it.
    index bigint
    mistake jsonb
    fact_id uuid
    occurred_at timestamp with time zone
    task_id text
    component text
    error_type text
    severity text
    error_message text
    stack_trace text
    context jsonb

VIEW error_facts
    -- Errors as rollups see them.
    occurred_at timestamp with time zone
    recorded_in bigint
    component text
    error_type text
    severity text
    task_id text

TABLE error_hours WITH (fillfactor=70) ROW LEVEL SECURITY
    -- Errors by hour (after until - 1 hour, to until), as in error_minutes.
    until timestamp with time zone NOT NULL
    component text NOT NULL
    error_type text NOT NULL
    severity text NOT NULL
    errors bigint NOT NULL
    first_at timestamp with time zone NOT NULL
    last_at timestamp with time zone NOT NULL
    tasks bit(512) NOT NULL
    CREATE UNIQUE INDEX one_row_per_hour_of_errors ON error_hours USING btree (until, component, error_type, severity)

TABLE error_minutes PARTITION BY RANGE (until) ROW LEVEL SECURITY
    -- Errors by minute (after until - 1 minute, to until), component, type and severity; tasks is a sketch of how many tasks they were about.
    until timestamp with time zone NOT NULL
    component text NOT NULL
    error_type text NOT NULL
    severity text NOT NULL
    errors bigint NOT NULL
    first_at timestamp with time zone NOT NULL
    last_at timestamp with time zone NOT NULL
    tasks bit(512) NOT NULL
    CREATE UNIQUE INDEX one_row_per_minute_of_errors ON ONLY error_minutes USING btree (until, component, error_type, severity)

TABLE error_tracking PARTITION BY RANGE (occurred_at) ROW LEVEL SECURITY
    -- Errors as they were recorded; task_id is empty for an error outside of any task.
    id bigint NOT NULL DEFAULT nextval('error_tracking_id_seq'::regclass)
    fact_id uuid NOT NULL  -- Tells a fact from its replay. Random for a new fact, derived from the content when the moment was given.
    occurred_at timestamp with time zone NOT NULL
    task_id text
    component text NOT NULL
    error_type text NOT NULL
    severity text NOT NULL
    error_message text NOT NULL
    stack_trace text
    context jsonb
    recorded_in bigint NOT NULL DEFAULT recording_transaction()  -- The transaction that recorded the error; 0 for what was recorded before there were rollups.
    CONSTRAINT severity_is_known CHECK ((severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])))
    CREATE INDEX error_tracking_component ON ONLY error_tracking USING btree (component, occurred_at)
    CREATE INDEX error_tracking_recorded_in ON ONLY error_tracking USING btree (recorded_in)
    CREATE INDEX error_tracking_severity ON ONLY error_tracking USING btree (severity, occurred_at)
    CREATE INDEX error_tracking_task_id ON ONLY error_tracking USING btree (task_id) WHERE (task_id IS NOT NULL)
    CREATE UNIQUE INDEX one_row_per_error ON ONLY error_tracking USING btree (occurred_at, fact_id)

SEQUENCE error_tracking_id_seq

TABLE host_metrics PARTITION BY RANGE (sampled_at) ROW LEVEL SECURITY
    -- One row for each look at a host. disk_percent is that of the fullest disk; sample holds everything that was seen.
    host text NOT NULL
    sampled_at timestamp with time zone NOT NULL
    cpu_percent double precision
    memory_percent double precision
    swap_percent double precision
    disk_percent double precision
    load_per_core double precision
    sample jsonb NOT NULL
    CREATE UNIQUE INDEX one_sample_per_host_and_moment ON ONLY host_metrics USING btree (host, sampled_at)

TABLE job_runs ROW LEVEL SECURITY
    -- The runs of automon's own jobs: which instance ran what, when, and what came of it. abandoned: its service ended in the middle, and another took the job over.
    id bigint NOT NULL DEFAULT nextval('job_runs_id_seq'::regclass)
    job text NOT NULL
    instance text NOT NULL
    started_at timestamp with time zone NOT NULL
    finished_at timestamp with time zone
    outcome text NOT NULL DEFAULT 'running'::text
    counts jsonb NOT NULL DEFAULT '{}'::jsonb
    error text
    CONSTRAINT finished_at_set_iff_finished CHECK (((finished_at IS NULL) = (outcome = 'running'::text)))
    CONSTRAINT job_runs_pkey PRIMARY KEY (id)
    CONSTRAINT outcome_is_known CHECK ((outcome = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text, 'abandoned'::text])))
    CREATE INDEX job_runs_job ON job_runs USING btree (job, started_at)
    CREATE UNIQUE INDEX job_runs_pkey ON job_runs USING btree (id)
    CREATE INDEX job_runs_started_at ON job_runs USING btree (started_at)

SEQUENCE job_runs_id_seq

TYPE metric_fact
    -- A measurement in a document: what is wrong with it, or what is to be stored of it.
    index bigint
    mistake jsonb
    fact_id uuid
    recorded_at timestamp with time zone
    component text
    metric_name text
    metric_type text
    value double precision
    unit text
    tags jsonb

VIEW metric_facts
    -- Measurements as rollups see them.
    recorded_at timestamp with time zone
    recorded_in bigint
    hour timestamp with time zone
    metric_name text
    metric_type text
    component text
    unit text
    bucket integer
    value double precision

TABLE metric_hours WITH (fillfactor=70) ROW LEVEL SECURITY
    -- Measurements by UTC hour, what they are of, and bucket of their value.
    hour timestamp with time zone NOT NULL
    metric_name text NOT NULL
    metric_type text NOT NULL
    component text NOT NULL
    unit text NOT NULL
    bucket integer NOT NULL
    measurements bigint NOT NULL
    total double precision NOT NULL
    min_value double precision NOT NULL
    max_value double precision NOT NULL
    CREATE UNIQUE INDEX one_row_per_hour_of_measurements ON metric_hours USING btree (hour, metric_name, metric_type, component, unit, bucket)

TYPE mixed_fact
    -- A fact of any kind in a document: what is wrong with it, or what kind of fact it is, its moment and all that it says.
    index bigint
    mistake jsonb
    kind text
    at timestamp with time zone
    said jsonb

TABLE monitored_sources ROW LEVEL SECURITY
    -- The queues and hosts that have reported, so that a silent one is missed without a search through history.
    kind text NOT NULL
    name text NOT NULL
    first_reported_at timestamp with time zone NOT NULL
    CONSTRAINT kind_is_known CHECK ((kind = ANY (ARRAY['queue'::text, 'host'::text])))
    CONSTRAINT monitored_sources_pkey PRIMARY KEY (kind, name)
    CREATE UNIQUE INDEX monitored_sources_pkey ON monitored_sources USING btree (kind, name)

TYPE monitoring_finding
    -- What a check says of one source at a moment. No severity: within its limits.
    alert_type text
    source text
    severity text
    value double precision
    threshold double precision
    unit text
    summary text
    evidence jsonb

TABLE monitoring_migrations ROW LEVEL SECURITY
    -- Ledger of the schema files that were applied, with the SHA-256 of each and the version of automon that applied it.
    file text NOT NULL
    checksum text NOT NULL
    applied_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
    version text DEFAULT current_setting('automon.version'::text, true)
    CONSTRAINT monitoring_migrations_pkey PRIMARY KEY (file)
    CREATE UNIQUE INDEX monitoring_migrations_pkey ON monitoring_migrations USING btree (file)

TABLE monitoring_settings ROW LEVEL SECURITY
    -- Numbers that the functions work with; the unit is the last word of the name. The service writes here what the config says.
    name text NOT NULL
    value double precision NOT NULL
    origin text NOT NULL DEFAULT 'shipped'::text
    updated_at timestamp with time zone NOT NULL DEFAULT now()
    CONSTRAINT monitoring_settings_pkey PRIMARY KEY (name)
    CONSTRAINT origin_is_known CHECK ((origin = ANY (ARRAY['shipped'::text, 'config'::text, 'sql'::text])))
    CONSTRAINT value_is_finite CHECK (((value <> ALL (ARRAY['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision])) AND (value >= (0)::double precision)))
    CREATE UNIQUE INDEX monitoring_settings_pkey ON monitoring_settings USING btree (name)

TABLE monitoring_thresholds ROW LEVEL SECURITY
    -- From which value on a source is of which severity; * is every source without a row of its own, NULL a level that is not used.
    alert_type text NOT NULL
    source text NOT NULL DEFAULT '*'::text
    low double precision
    medium double precision
    high double precision
    critical double precision
    origin text NOT NULL DEFAULT 'shipped'::text
    updated_at timestamp with time zone NOT NULL DEFAULT now()
    CONSTRAINT monitoring_thresholds_pkey PRIMARY KEY (alert_type, source)
    CONSTRAINT origin_is_known CHECK ((origin = ANY (ARRAY['shipped'::text, 'config'::text, 'sql'::text])))
    CREATE UNIQUE INDEX monitoring_thresholds_pkey ON monitoring_thresholds USING btree (alert_type, source)

TABLE notification_channels ROW LEVEL SECURITY
    -- The channels in use, as the service read them from its config: who is told of what, and how each fares. Addresses and secrets stay with the service; fingerprint tells that they have changed. fallback NULL: the journal.
    name text NOT NULL
    recipients text[] NOT NULL
    min_severity text NOT NULL
    notify_on text[] NOT NULL
    fallback text
    fallback_after interval NOT NULL DEFAULT '00:10:00'::interval
    fingerprint text NOT NULL DEFAULT ''::text
    updated_at timestamp with time zone NOT NULL DEFAULT now()
    next_send_at timestamp with time zone NOT NULL DEFAULT to_timestamp((0)::double precision)
    pause interval NOT NULL DEFAULT '00:00:00'::interval
    failures integer NOT NULL DEFAULT 0
    failing_since timestamp with time zone
    stopped_at timestamp with time zone
    last_error text
    CONSTRAINT failing_iff_failures CHECK (((failing_since IS NULL) = (failures = 0)))
    CONSTRAINT notification_channels_pkey PRIMARY KEY (name)
    CONSTRAINT severity_is_known CHECK ((min_severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])))
    CONSTRAINT stopped_with_a_reason CHECK (((stopped_at IS NULL) OR (last_error IS NOT NULL)))
    CREATE UNIQUE INDEX notification_channels_pkey ON notification_channels USING btree (name)

TABLE performance_monitoring PARTITION BY RANGE (recorded_at) ROW LEVEL SECURITY
    -- Measurements as they were recorded, in the unit that stands beside each.
    id bigint NOT NULL DEFAULT nextval('performance_monitoring_id_seq'::regclass)
    fact_id uuid NOT NULL
    recorded_at timestamp with time zone NOT NULL
    component text NOT NULL
    metric_name text NOT NULL
    metric_type text NOT NULL
    value double precision NOT NULL
    unit text NOT NULL
    tags jsonb
    recorded_in bigint NOT NULL DEFAULT recording_transaction()  -- The transaction that recorded the measurement; 0 for what was recorded before there were rollups.
    CREATE UNIQUE INDEX one_row_per_measurement ON ONLY performance_monitoring USING btree (recorded_at, fact_id)
    CREATE INDEX performance_monitoring_metric ON ONLY performance_monitoring USING btree (metric_name, recorded_at)
    CREATE INDEX performance_monitoring_recorded_in ON ONLY performance_monitoring USING btree (recorded_in)

SEQUENCE performance_monitoring_id_seq

TABLE processing_metrics PARTITION BY LIST (((end_time IS NULL))) ROW LEVEL SECURITY
    -- Tasks: one row for each execution of the user's work, running or ended. Sizes in bytes or items, as the user counts; progress in percent.
    id bigint NOT NULL DEFAULT nextval('processing_metrics_id_seq'::regclass)
    task_id text NOT NULL
    task_type text NOT NULL
    worker_id text
    status text NOT NULL DEFAULT 'running'::text
    start_time timestamp with time zone NOT NULL
    end_time timestamp with time zone
    duration_seconds double precision
    input_size bigint
    output_size bigint
    heartbeat_at timestamp with time zone
    progress double precision
    current_step text
    step_timings jsonb
    error_message text
    recorded_in bigint NOT NULL DEFAULT recording_transaction()
    parent_task_id text  -- The task within which this one was started, as the start said; it may be unknown here.
    CONSTRAINT is_a_task CHECK (is_task(status, start_time, end_time, duration_seconds, input_size, output_size, progress)) NOT VALID

TABLE processing_metrics_history PARTITION BY RANGE (end_time) FOR VALUES IN (false) ROW LEVEL SECURITY
    -- The tasks that have ended, a partition for each UTC day of their end.
    id bigint NOT NULL DEFAULT nextval('processing_metrics_id_seq'::regclass)
    task_id text NOT NULL
    task_type text NOT NULL
    worker_id text
    status text NOT NULL DEFAULT 'running'::text
    start_time timestamp with time zone NOT NULL
    end_time timestamp with time zone
    duration_seconds double precision
    input_size bigint
    output_size bigint
    heartbeat_at timestamp with time zone
    progress double precision
    current_step text
    step_timings jsonb
    error_message text
    recorded_in bigint NOT NULL DEFAULT recording_transaction()  -- The transaction that recorded the end; 0 for what was recorded before there were rollups.
    parent_task_id text
    CONSTRAINT is_a_task CHECK (is_task(status, start_time, end_time, duration_seconds, input_size, output_size, progress)) NOT VALID
    CREATE INDEX processing_metrics_history_end_time ON ONLY processing_metrics_history USING btree (end_time)
    CREATE INDEX processing_metrics_history_recorded_in ON ONLY processing_metrics_history USING btree (recorded_in)
    CREATE INDEX processing_metrics_history_start_time ON ONLY processing_metrics_history USING btree (start_time)
    CREATE INDEX processing_metrics_history_task_id ON ONLY processing_metrics_history USING btree (task_id)

SEQUENCE processing_metrics_id_seq

TABLE processing_metrics_running FOR VALUES IN (true) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=200) ROW LEVEL SECURITY
    -- The tasks that run now; small, whatever the history holds.
    id bigint NOT NULL DEFAULT nextval('processing_metrics_id_seq'::regclass)
    task_id text NOT NULL
    task_type text NOT NULL
    worker_id text
    status text NOT NULL DEFAULT 'running'::text
    start_time timestamp with time zone NOT NULL
    end_time timestamp with time zone
    duration_seconds double precision
    input_size bigint
    output_size bigint
    heartbeat_at timestamp with time zone
    progress double precision
    current_step text
    step_timings jsonb
    error_message text
    recorded_in bigint NOT NULL DEFAULT 0
    parent_task_id text
    CONSTRAINT is_a_task CHECK (is_task(status, start_time, end_time, duration_seconds, input_size, output_size, progress)) NOT VALID
    CONSTRAINT one_running_row_per_task UNIQUE (task_id)
    CREATE UNIQUE INDEX one_running_row_per_task ON processing_metrics_running USING btree (task_id)

TABLE queue_monitoring PARTITION BY RANGE (recorded_at) ROW LEVEL SECURITY
    -- What queues reported. completed and failed count since the report before.
    id bigint NOT NULL DEFAULT nextval('queue_monitoring_id_seq'::regclass)
    queue_name text NOT NULL
    recorded_at timestamp with time zone NOT NULL
    pending bigint NOT NULL
    processing bigint
    completed bigint
    failed bigint
    oldest_pending_seconds double precision
    CONSTRAINT counts_are_not_negative CHECK (((pending >= 0) AND (processing >= 0) AND (completed >= 0) AND (failed >= 0) AND (oldest_pending_seconds >= (0)::double precision)))
    CREATE UNIQUE INDEX one_report_per_queue_and_moment ON ONLY queue_monitoring USING btree (queue_name, recorded_at)

SEQUENCE queue_monitoring_id_seq

TABLE role_openings ROW LEVEL SECURITY
    -- The functions (all of a name) and views that are opened to a role; kept, so that a role that is made later finds them open.
    role text NOT NULL
    name text NOT NULL
    CONSTRAINT role_is_known CHECK ((role = ANY (ARRAY['automon_writer'::text, 'automon_reader'::text, 'automon_operator'::text])))
    CONSTRAINT role_openings_pkey PRIMARY KEY (role, name)
    CREATE UNIQUE INDEX role_openings_pkey ON role_openings USING btree (role, name)

TABLE rollup_state ROW LEVEL SECURITY
    -- What the rollups hold: the facts of every transaction before next_transaction but the open ones, as far as they happened after minutes_since and hours_since. Whatever else there is, is read from the facts.
    only_row boolean NOT NULL DEFAULT true
    next_transaction bigint NOT NULL
    open_transactions bigint[] NOT NULL
    transaction_offset bigint NOT NULL DEFAULT 0
    rolled_at timestamp with time zone NOT NULL
    minutes_since timestamp with time zone NOT NULL
    hours_since timestamp with time zone NOT NULL
    server text
    CONSTRAINT minutes_are_no_older_than_hours CHECK ((minutes_since >= hours_since))
    CONSTRAINT one_row CHECK (only_row)
    CONSTRAINT rollup_state_pkey PRIMARY KEY (only_row)
    CREATE UNIQUE INDEX rollup_state_pkey ON rollup_state USING btree (only_row)

TABLE service_instances ROW LEVEL SECURITY
    -- The services that run on this database, or ran within a day. What one has claimed is taken over when its lease has ended.
    instance text NOT NULL
    version text NOT NULL
    started_at timestamp with time zone NOT NULL
    beat_at timestamp with time zone NOT NULL
    lease_until timestamp with time zone NOT NULL
    CONSTRAINT service_instances_pkey PRIMARY KEY (instance)
    CREATE UNIQUE INDEX service_instances_pkey ON service_instances USING btree (instance)

TABLE system_health WITH (fillfactor=70) ROW LEVEL SECURITY
    -- State intervals of components: one row for as long as a component stayed in one state. The open interval has no ended_at. response_time_ms is the last that was reported.
    id bigint NOT NULL DEFAULT nextval('system_health_id_seq'::regclass)
    component_type text NOT NULL
    component_name text NOT NULL
    status text NOT NULL
    started_at timestamp with time zone NOT NULL
    ended_at timestamp with time zone
    last_reported_at timestamp with time zone NOT NULL
    report_count bigint NOT NULL DEFAULT 1
    response_time_ms double precision
    failure_reason text
    details jsonb
    CONSTRAINT reported_within_the_interval CHECK (((last_reported_at >= started_at) AND (ended_at >= last_reported_at)))
    CONSTRAINT response_time_is_not_negative CHECK ((response_time_ms >= (0)::double precision))
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['healthy'::text, 'degraded'::text, 'unhealthy'::text])))
    CONSTRAINT system_health_pkey PRIMARY KEY (id)
    CREATE UNIQUE INDEX one_current_state_per_component ON system_health USING btree (component_type, component_name) WHERE (ended_at IS NULL)
    CREATE INDEX system_health_component ON system_health USING btree (component_type, component_name, started_at)
    CREATE INDEX system_health_ended_at ON system_health USING btree (ended_at) WHERE (ended_at IS NOT NULL)
    CREATE UNIQUE INDEX system_health_pkey ON system_health USING btree (id)

SEQUENCE system_health_id_seq

TYPE task_fact
    -- A task in a document: what is wrong with it, or what is to be stored of it.
    index bigint
    mistake jsonb
    task_id text
    task_type text
    worker_id text
    status text
    start_time timestamp with time zone
    end_time timestamp with time zone
    input_size bigint
    output_size bigint
    step_timings jsonb
    error_message text
    parent_task_id text

VIEW task_facts
    -- Ended tasks as rollups see them.
    end_time timestamp with time zone
    recorded_in bigint
    task_type text
    status text
    bucket integer
    seconds double precision
    input_size bigint
    output_size bigint
    start_time timestamp with time zone
    worker_id text

TABLE task_hours WITH (fillfactor=70) ROW LEVEL SECURITY
    -- Ended tasks by hour (after until - 1 hour, to until), as in task_minutes.
    until timestamp with time zone NOT NULL
    task_type text NOT NULL
    status text NOT NULL
    bucket integer NOT NULL
    tasks bigint NOT NULL
    seconds double precision NOT NULL
    max_seconds double precision NOT NULL
    input_size numeric
    output_size numeric
    first_end timestamp with time zone NOT NULL
    last_end timestamp with time zone NOT NULL
    last_start timestamp with time zone NOT NULL
    workers bit(512) NOT NULL
    CREATE UNIQUE INDEX one_row_per_hour_of_tasks ON task_hours USING btree (until, task_type, status, bucket)

TABLE task_minutes PARTITION BY RANGE (until) ROW LEVEL SECURITY
    -- Ended tasks by minute (after until - 1 minute, to until), type, status and bucket of their duration in seconds; workers is a sketch of how many there were.
    until timestamp with time zone NOT NULL
    task_type text NOT NULL
    status text NOT NULL
    bucket integer NOT NULL
    tasks bigint NOT NULL
    seconds double precision NOT NULL
    max_seconds double precision NOT NULL
    input_size numeric
    output_size numeric
    first_end timestamp with time zone NOT NULL
    last_end timestamp with time zone NOT NULL
    last_start timestamp with time zone NOT NULL
    workers bit(512) NOT NULL
    CREATE UNIQUE INDEX one_row_per_minute_of_tasks ON ONLY task_minutes USING btree (until, task_type, status, bucket)

VIEW v_active_alerts
    -- The open alerts, worst first: what is measured, the limit, since when, how bad it was, who has it, whether it is silenced.
    id bigint
    alert_type text
    source text
    severity text
    status text
    summary text
    value double precision
    threshold double precision
    unit text
    opened_at timestamp with time zone
    age_seconds double precision
    last_seen_at timestamp with time zone
    clear_since timestamp with time zone
    peak_severity text
    peak_value double precision
    peak_summary text
    peak_at timestamp with time zone
    acknowledged_at timestamp with time zone
    acknowledged_by text
    acknowledged_note text
    silenced_until timestamp with time zone
    last_told_at timestamp with time zone
    evidence jsonb
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_alert_history
    -- Alerts, the resolved ones too for as long as they are kept. at: when they were opened.
    at timestamp with time zone
    id bigint
    alert_type text
    source text
    severity text
    peak_severity text
    summary text
    resolved_at timestamp with time zone
    resolved_by text
    acknowledged_at timestamp with time zone
    acknowledged_by text
    open_seconds double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_blind_periods
    -- When automon saw nothing, and why.
    at timestamp with time zone
    ended_at timestamp with time zone
    seconds double precision
    why text
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_deliveries
    -- Every message, newest first: to whom, about what, how it stands, how often it was tried, how many seconds it took, and why it has not arrived. One that was told in a digest stands as its digest does.
    id bigint
    created_at timestamp with time zone
    channel text
    recipient text
    subject text
    alert_id bigint
    alert_type text
    source text
    kind text
    severity text
    summary text
    status text
    digest_id bigint
    instead_of text
    attempts integer
    first_attempt_at timestamp with time zone
    finished_at timestamp with time zone
    latency_seconds double precision
    may_be_repeat boolean
    handed_on_at timestamp with time zone
    why text
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_error_hours
    -- Errors by hour, component, type and severity, for as long as rollups are kept. at: the end of the hour.
    at timestamp with time zone
    component text
    error_type text
    severity text
    errors bigint
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_error_minutes
    -- Errors by minute, component, type and severity, of the last eight days. at: the end of the minute.
    at timestamp with time zone
    component text
    error_type text
    severity text
    errors bigint
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_error_summary
    -- The errors of the last 24 hours by component and type: counts by severity, about how many tasks are affected, first, last and newest message.
    component text
    error_type text
    errors_24h bigint
    errors_last_hour bigint
    low bigint
    medium bigint
    high bigint
    critical bigint
    affected_tasks bigint
    first_seen_at timestamp with time zone
    last_seen_at timestamp with time zone
    last_seen_age_seconds double precision
    last_message text
    last_task_id text
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_host_history
    -- What was seen of hosts, and of the limits of the containers that their samplers run in. disk_percent is that of the fullest disk.
    at timestamp with time zone
    host text
    cpu_percent double precision
    memory_percent double precision
    swap_percent double precision
    disk_percent double precision
    load_per_core double precision
    cpu_pressure_percent double precision
    memory_pressure_percent double precision
    io_pressure_percent double precision
    received_bytes_per_second double precision
    sent_bytes_per_second double precision
    read_bytes_per_second double precision
    written_bytes_per_second double precision
    container_memory_limit_bytes double precision
    container_cpu_limit_cores double precision
    container_cpu_throttled_percent double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_host_summary
    -- Each host as it was last sampled within seven days.
    host text
    sampled_at timestamp with time zone
    sample_age_seconds double precision
    cpu_percent double precision
    memory_percent double precision
    swap_percent double precision
    disk_percent double precision
    load_per_core double precision
    fullest_disk text
    fullest_disk_free_bytes double precision
    uptime_seconds double precision
    container_memory_limit_bytes double precision
    container_cpu_limit_cores double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_job_runs
    -- The runs of automon's own jobs: when, by which service, how they ended and how long they took.
    at timestamp with time zone
    job text
    instance text
    outcome text
    seconds double precision
    counts jsonb
    error text
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_performance_trends
    -- Each measurement by UTC hour over 24 hours: mean, extremes, percentiles (to about 2.5 percent), and the change against the hour before.
    metric_name text
    metric_type text
    component text
    unit text
    hour timestamp with time zone
    measurements bigint
    avg_value double precision
    min_value double precision
    max_value double precision
    p50 double precision
    p95 double precision
    p99 double precision
    previous_avg_value double precision
    change_percent numeric
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_queue_history
    -- What queues reported.
    at timestamp with time zone
    queue_name text
    pending bigint
    processing bigint
    completed bigint
    failed bigint
    oldest_pending_seconds double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_queue_performance
    -- Each queue: what waits and since when, how that changed within the hour, and in how many seconds it would be empty at that pace (NULL: not shrinking).
    queue_name text
    pending bigint
    processing bigint
    oldest_pending_seconds double precision
    last_reported_at timestamp with time zone
    report_age_seconds double precision
    pending_1h_ago bigint
    change_1h bigint
    max_pending_1h bigint
    completed_last_hour numeric
    failed_last_hour numeric
    completed_per_minute numeric
    seconds_to_empty numeric
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_realtime_processing_status
    -- Each task type now and over the last hour: what runs and for how long, what ended how, durations in seconds (percentiles to about 2.5 percent), the last error.
    task_type text
    running bigint
    busy_workers bigint
    oldest_running_seconds double precision
    oldest_running_task_id text
    last_heartbeat_age_seconds double precision
    completed_last_hour bigint
    failed_last_hour bigint
    cancelled_last_hour bigint
    failure_rate_percent numeric
    ended_per_minute numeric
    avg_seconds double precision
    p50_seconds double precision
    p95_seconds double precision
    p99_seconds double precision
    last_started_at timestamp with time zone
    last_ended_at timestamp with time zone
    last_failed_at timestamp with time zone
    last_error text
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_services
    -- The services that run on this database, or ran within a day.
    instance text
    version text
    started_at timestamp with time zone
    beat_at timestamp with time zone
    beat_age_seconds double precision
    is_alive boolean
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_system_health_summary
    -- Each component: its state and since when, its uptime over 24 hours, 7 and 30 days, its last failure and recovery.
    component_type text
    component_name text
    status text
    status_since timestamp with time zone
    status_age_seconds double precision
    last_reported_at timestamp with time zone
    report_age_seconds double precision
    response_time_ms double precision
    failure_reason text
    uptime_24h_percent double precision
    uptime_7d_percent double precision
    uptime_30d_percent double precision
    outages_24h bigint
    last_failure_at timestamp with time zone
    last_failure_reason text
    last_recovered_at timestamp with time zone
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_task_hours
    -- Ended tasks by hour, type and status, for as long as rollups are kept. at: the end of the hour.
    at timestamp with time zone
    task_type text
    status text
    tasks bigint
    avg_seconds double precision
    max_seconds double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

VIEW v_task_minutes
    -- Ended tasks by minute, type and status, of the last eight days: how many, and how long they took. at: the end of the minute.
    at timestamp with time zone
    task_type text
    status text
    tasks bigint
    avg_seconds double precision
    max_seconds double precision
    GRANT SELECT TO automon_operator
    GRANT SELECT TO automon_reader

TABLE watch_state ROW LEVEL SECURITY
    -- When somebody last watched (a service's beat, or a check without a service), and until when that is good for. No row: no service has ever run here.
    only_row boolean NOT NULL DEFAULT true
    seen_at timestamp with time zone NOT NULL
    seen_until timestamp with time zone NOT NULL
    CONSTRAINT one_row CHECK (only_row)
    CONSTRAINT watch_state_pkey PRIMARY KEY (only_row)
    CREATE UNIQUE INDEX watch_state_pkey ON watch_state USING btree (only_row)

FUNCTION acknowledge_alert(p_alert_id bigint, p_by text DEFAULT NULL::text, p_note text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Takes an alert in hand: reminders stop, an escalation is still told. False when it is in hand or resolved. By default the session's user. Raises AM009.
    GRANT EXECUTE TO automon_operator

FUNCTION add_errors(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamp with time zone DEFAULT 'infinity'::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, enable_seqscan=off, enable_sort=off, plan_cache_mode=force_generic_plan
    -- Rolls up the errors of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.

FUNCTION add_facts(p_kind text, p_state rollup_state, p_end bigint, p_still_open bigint[], p_first timestamp with time zone, p_last timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Rolls up the facts of a kind of the transactions that a state lacks, which happened between two moments; answers how many.

FUNCTION add_metrics(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamp with time zone DEFAULT 'infinity'::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, enable_seqscan=off, enable_sort=off, plan_cache_mode=force_generic_plan
    -- Rolls up the measurements of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.

FUNCTION add_tasks(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamp with time zone DEFAULT 'infinity'::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, enable_seqscan=off, enable_sort=off, plan_cache_mode=force_generic_plan
    -- Rolls up the ended tasks of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.

FUNCTION affected_tasks(p_component text, p_severities text[], p_from timestamp with time zone, p_to timestamp with time zone) RETURNS bigint
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How many different tasks the errors of a component were about; of more than a thousand errors about how many.

FUNCTION all_waiting(p_state rollup_state, p_limit integer) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What waiting_facts answers, as one value; NULL when nothing waits.

FUNCTION apply_fact(p_kind text, p_at timestamp with time zone, p_said jsonb) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Records a fact of a document by the function for its kind, and answers and raises what that does.

FUNCTION apply_findings(p_alert_types text[], p_findings monitoring_finding[], p_now timestamp with time zone DEFAULT now(), p_resolve_only boolean DEFAULT false) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Turns the findings of the alert types named into alerts, transitions and deliveries, in one transaction; answers how many transitions it wrote. An open alert without a firing finding clears. Evaluations that come at once wait for each other; one that is older than what an alert has seen changes nothing.

FUNCTION are_moments(p_values jsonb) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether all values of an array look like moments. To match a thousand at once costs a tenth of matching one a thousand times.

FUNCTION automon_summary(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The part "automon" of the dashboard summary: its own checks, clean-up, channels and partitions.

FUNCTION beat(p_instance text, p_version text DEFAULT ''::text, p_why text DEFAULT 'no service ran'::text, p_lease interval DEFAULT '00:00:10'::interval) RETURNS void
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Says that a service lives, for the length of a lease. When no service had said so for too long, that time becomes a blind period, for the reason given.

FUNCTION begin_job_run(p_job text, p_instance text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records that a job starts; answers the number of the run.

FUNCTION begin_migration(p_file text, p_checksum text) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Enters a file in the ledger and answers whether it is to be applied now. Raises AM010 when an applied file has changed since.

FUNCTION bind_functions_to_schema() RETURNS void
    PLPGSQL VOLATILE
    -- Makes the functions of the current schema name that schema in their bodies. Does nothing in "public".

FUNCTION blind_evidence(p_began timestamp with time zone, p_ended timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What automon cannot know of a blind period: reports that were to be expected, and how many tasks usually end in such a time.

FUNCTION bulk_answer(p_facts bigint, p_stored bigint, p_refused jsonb[]) RETURNS jsonb
    SQL IMMUTABLE PARALLEL SAFE
    -- What a bulk form answers: {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}.

FUNCTION can_have_happened(p_at timestamp with time zone, p_now timestamp with time zone) RETURNS boolean
    SQL STABLE PARALLEL SAFE
    -- Whether a fact may have that moment: not before the year 2000, not more than a minute ahead of now.

FUNCTION cause_in_words(p_cause text, p_alert_type text, p_evidence jsonb) RETURNS text
    PLPGSQL IMMUTABLE PARALLEL SAFE SET search_path=pg_catalog, pg_temp
    -- A cause as one of its occurrences said it, with the numbers that cause_of leaves out.

FUNCTION cause_of(p_alert_type text, p_source text, p_evidence jsonb) RETURNS text
    PLPGSQL IMMUTABLE PARALLEL SAFE SET search_path=pg_catalog, pg_temp
    -- What alerts have in common that are told together, whatever their type: the most frequent error message without its numbers and ids, else the error type, the host, or the alert type.

FUNCTION changes_near(p_at timestamp with time zone, p_but_alert_id bigint, p_limit integer) RETURNS TABLE(at timestamp with time zone, kind text, what text, alert_id bigint)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What else changed from half an hour before a moment to ten minutes after it: other alerts, states of components, the configuration, services of automon; the nearest first.

FUNCTION channel_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_channel: whether a channel is stopped, or has failed for so long that its fallback speaks for it.

FUNCTION channel_is_failing(p_channel notification_channels, p_now timestamp with time zone) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a channel has failed for so long that its fallback speaks for it.

FUNCTION channel_state(p_channel notification_channels, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How a channel fares, as JSON: working, failing or stopped, since when and why, what waits, what was sent and what was given up.

FUNCTION check_automon_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks automon's own channels, jobs, tables and config files; answers how many alerts it changed.

FUNCTION check_critical_error_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks for critical errors of each component; answers how many alerts it changed.

FUNCTION check_error_rate_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks the errors of each component; answers how many alerts it changed.

FUNCTION check_host_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks CPU, memory, disks and silence of each host; answers how many alerts it changed.

FUNCTION check_processing_performance_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks the tasks of each type: how many fail, how long they take, how long they are running; answers how many alerts it changed.

FUNCTION check_queue_backlog_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks the length and the silence of each queue; answers how many alerts it changed.

FUNCTION check_system_health_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Checks the state, the response time and the silence of each component; answers how many alerts it changed.

FUNCTION choose_fresh_delivery(p_channel text, p_now timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Chooses what is told next of what was never tried: one message at once while they are few; one digest for a cause with many; when causes are too many, the worst by themselves and one digest for the rest. NULL when nothing may be told now.

FUNCTION claim_delivery(p_channel text, p_holder text, p_lease interval DEFAULT '00:02:00'::interval, p_pace interval DEFAULT '00:00:00'::interval) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Claims the next message of a channel for a holder until the lease ends, and answers its delivery_message; NULL when none may be sent now, or another is choosing. The channel's next message comes a pace later, whoever sends it.

FUNCTION claim_job_run(p_job text, p_instance text, p_pause interval, p_due_since timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Begins a run of a job, for one service only: NULL while another runs it, when it began less than a pause ago, or has succeeded since it was due, and for a service that has not beaten within its lease. A run whose service is gone (or was never heard of, after a pause) is taken over.

FUNCTION cleanup_old_monitoring_data(p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Removes what has passed its term and answers what it removed, about how much that was, and what is left. No writer waits for it for more than 0.3 s, when it is committed at once. "more": another call removes more now. "partitions_in_use": days that others held open, for a later call. "another_runs": another session is at it, nothing was done.

FUNCTION clear_alert(p_alert alerts, p_finding monitoring_finding, p_now timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Resolves an alert that has been within its limits for alerts.resolve_after_seconds; until then remembers since when. Only apply_findings calls it.

FUNCTION close_alert(p_alert alerts, p_summary text, p_value double precision, p_now timestamp with time zone, p_by text, p_note text DEFAULT NULL::text) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Resolves an alert. Its transition says what is measured now and what was not repaired.

FUNCTION complete_task_tracking(p_task_id text, p_status text DEFAULT 'completed'::text, p_output_size bigint DEFAULT NULL::bigint, p_step_timings jsonb DEFAULT NULL::jsonb, p_error_message text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records that a task has ended. True when stored; false when it had ended before (the first end stands). Raises AM002, AM004, AM005, AM007 (never started), AM008.
    GRANT EXECUTE TO automon_writer

FUNCTION complete_task_tracking(p_task_id text, p_status text, p_output_size bigint, p_step_timings jsonb, p_error_message text, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION component_evidence(p_source text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The last states of a component with their reasons, and its uptime.

FUNCTION component_states_at(p_now timestamp with time zone) RETURNS TABLE(source text, status text, since timestamp with time zone, reported_at timestamp with time zone, response_time_ms double precision, failure_reason text, reports bigint, rhythm_seconds double precision)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The state of each component at a moment, how often it reported within seven days, and the mean seconds between two of those reports.

FUNCTION config_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_config: whether the newest edit of a living service's config file was rejected, by host.

FUNCTION count_mistake(p_what text, p_value jsonb) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM004 invalid_number of what is counted, as a value.

FUNCTION count_sketched(p_sketch bit) RETURNS bigint
    SQL IMMUTABLE PARALLEL SAFE
    -- About how many different names a sketch has seen, by linear counting (Whang, Vander-Zanden, Taylor 1990): within 2 for 50, within a tenth up to 2,000, and never more than 3,194.

FUNCTION counted(p_count double precision, p_noun text) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- A count with its noun: 1 error, 12 errors.

FUNCTION day_partition_name(p_table text, p_at timestamp with time zone) RETURNS text
    SQL STABLE PARALLEL SAFE
    -- The name of the partition that holds the UTC day of a moment.

FUNCTION day_partitioned_tables() RETURNS SETOF text
    SQL IMMUTABLE PARALLEL SAFE
    -- The tables that are partitioned by UTC day.

FUNCTION day_partitions(p_now timestamp with time zone) RETURNS TABLE(table_name text, partition_name text, relation oid, day date, days_past_term double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Every day of every table of facts, and for how many days all of it has been past its term (negative: not yet; NULL: it is kept for ever). Reads the catalogue alone.

FUNCTION delete_expired_errors(p_now timestamp with time zone, p_limit integer) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Deletes errors that have passed the term of their severity, oldest first, until none is left, or for a second, or that many; answers how many.

FUNCTION delete_expired_records(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Deletes resolved alerts (not before their messages are out), digests and canaries, closed health intervals, job runs, silences, blind periods and changes of the config that have passed their term, at most a thousand of each. "more": of one of them there may be more.

FUNCTION deliveries_to_hand_on() RETURNS SETOF alert_deliveries
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What a failing channel has not said, and what was given up, and no fallback has been told of yet. A digest comes with its members.

FUNCTION delivery_message(p_delivery_id bigint) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- All that a message may say, as JSON; "subject" tells which: a transition, a digest of many, or a canary.

FUNCTION digest_message(p_digest_id bigint) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What a digest may say: how many alerts did what, the worst of them, and what they have in common. Alerts count once, by the newest of their transitions in it.

FUNCTION drop_expired_days(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Drops the days that have passed their term: waits for locks for 0.15 s in all, and ends 0.08 s after it holds the first. "more": another call may drop more at once. To be committed at once.

FUNCTION drop_expired_partition(p_table text, p_partition text, p_patience interval, OUT outcome text, OUT bytes bigint, OUT rows_estimated double precision) RETURNS record
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, lock_timeout=10ms
    -- Drops a day when its table is free within that time, and the day itself at once: "dropped", with its size in bytes and about how many rows it held. Else it holds no lock, and says "table in use" or "day in use" (also by a view of somebody's own).

FUNCTION due_deliveries(p_channel text, p_now timestamp with time zone, p_fresh boolean DEFAULT NULL::boolean) RETURNS SETOF alert_deliveries
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What of a channel may be sent now: its time has come, and nothing earlier of its alert is under way to the same recipient. Fresh: what may be grouped, for it was never tried; or all else; or both.

FUNCTION early_end_mistake(p_task_id text, p_start timestamp with time zone, p_end timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM008 ends_before_start, as a value.

FUNCTION end_of(p_step interval, p_at timestamp with time zone) RETURNS timestamp with time zone
    SQL IMMUTABLE PARALLEL SAFE
    -- The end of the minute (or hour) that a moment lies in; one that is itself such an end belongs to the minute before it.

FUNCTION end_silence(p_silence_id bigint, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_by text DEFAULT NULL::text) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Ends a silence now and keeps who did, by default the session's user; false when there is none of that number or it has ended.
    GRANT EXECUTE TO automon_operator

FUNCTION end_status_mistake(p_value text) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM002 invalid_status of a task, as a value.

FUNCTION ended_last_hour(p_now timestamp with time zone) RETURNS TABLE(task_type text, completed bigint, failed bigint, cancelled bigint, avg_seconds double precision, percentiles double precision[], last_start timestamp with time zone, last_end timestamp with time zone, last_failed_at timestamp with time zone, last_error text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The tasks of each type that ended within an hour: counts, mean and 50th, 95th and 99th percentile of their seconds, last start, end, failure and its message.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION ensure_day_partition(p_table text, p_at timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Makes the partition for the UTC day of a moment and answers whether it was missing. Takes SHARE UPDATE EXCLUSIVE on the table; writers go on.

FUNCTION ensure_days(p_table text, p_first timestamp with time zone, p_last timestamp with time zone) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes the partitions of all days from one moment to another; none for an empty moment.

FUNCTION ensure_days_of_facts(p_table text, p_moments timestamp with time zone[]) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes the partitions that are missing for the UTC days of those moments, once each, and waits for sessions that are making some.

FUNCTION ensure_partitions(p_days_ahead integer DEFAULT 8, p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Makes the partitions of yesterday, today and the days ahead of every table of facts; answers how many were missing. Idempotent.

FUNCTION entry_changes(p_old jsonb, p_new jsonb) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- In which keys what a config file says differs from what it said: [{key, old, new, line}], of {key: {value, line}}.

FUNCTION error_evidence(p_component text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What the last hour's errors of a component were, whatever their severity.

FUNCTION error_keys() RETURNS text[]
    SQL IMMUTABLE PARALLEL SAFE
    -- The keys that an error in a document may have.

FUNCTION error_signature(p_message text) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- An error message without what changes from one occurrence to the next (numbers, ids): the first line, 200 characters, with # for each.

FUNCTION error_summary(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The part "errors" of the dashboard summary.

FUNCTION errors_between(p_from timestamp with time zone, p_to timestamp with time zone, p_component text DEFAULT NULL::text, p_step interval DEFAULT NULL::interval) RETURNS TABLE(step integer, component text, error_type text, severity text, errors bigint, first_at timestamp with time zone, last_at timestamp with time zone, tasks bit)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, plan_cache_mode=force_custom_plan
    -- The errors after a moment and up to another, of one component or all, by component, type and severity; with a step also by steps (0 the newest; to the minute, unless the end of the span is a whole one).
    GRANT EXECUTE TO automon_reader

FUNCTION errors_last_day(p_now timestamp with time zone) RETURNS TABLE(component text, error_type text, errors_24h bigint, errors_last_hour bigint, low bigint, medium bigint, high bigint, critical bigint, affected_tasks bigint, first_seen_at timestamp with time zone, last_seen_at timestamp with time zone, last_message text, last_task_id text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The errors of 24 hours by component and type: counts, also of the last hour and by severity, about how many tasks, first, last and newest message.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_all(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Every finding of every check at a moment.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_automon(p_now timestamp with time zone DEFAULT now()) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- automon_channel, automon_job, automon_storage, automon_config: how automon's own channels, jobs, tables and config files are.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_component_health(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- component_health, response_time, component_silence: the reported state of each component, its response time, and whether it has fallen silent.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_critical_errors(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- critical_errors: errors of severity critical of each component within the hour before the moment.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_error_rate(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- error_rate: errors of each component within the hour before the moment.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_failure_rate(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- failure_rate: percent of the tasks of each type that failed, of those that ended within the hour before the moment (not the cancelled ones).
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_hosts(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- host_cpu, host_memory, host_disk, host_silence: how busy and full each host is, and whether its samples have stopped.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_processing_time(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- processing_time: seconds that the tasks of each type took, 95th percentile (to about 2.5 percent) of those that ended within the hour before the moment.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_queue_backlog(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- queue_backlog, queue_silence: how many tasks wait in each queue, and whether it has stopped reporting.
    GRANT EXECUTE TO automon_reader

FUNCTION evaluate_running_time(p_now timestamp with time zone DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL::monitoring_thresholds[]) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- running_time: seconds that the oldest running task of each type has been at it, without those in which automon was blind.
    GRANT EXECUTE TO automon_reader

FUNCTION evidence_for(p_alert_type text, p_source text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The evidence about one source at a moment, also when it is within its limits.

FUNCTION evidence_of_errors(p_component text, p_severities text[], p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What the last hour's errors of a component and some severities were: how many, of how many tasks, the trend of six hours, and of the newest thousand the kinds, messages, first and last time.

FUNCTION expired_errors(p_now timestamp with time zone) RETURNS TABLE(severity text, expired_until timestamp with time zone, oldest_at timestamp with time zone, relation regclass)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- For each severity that has errors past its term, in days that are kept for longer: up to when they have expired, the oldest of them, and its partition. None as long as a day lacks its index.

FUNCTION expired_partitions(p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(table_name text, partition_name text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The day partitions that hold nothing but what has passed its term, oldest first.

FUNCTION export_estimate(p_kind text, p_since timestamp with time zone, p_until timestamp with time zone) RETURNS bigint
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- About how many facts of a kind a range of time holds, as the planner believes, without reading them; NULL for an unknown kind.
    GRANT EXECUTE TO automon_reader

FUNCTION export_facts(p_kind text, p_since timestamp with time zone, p_until timestamp with time zone, p_after jsonb DEFAULT NULL::jsonb, p_limit integer DEFAULT 5000) RETURNS SETOF json
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, TimeZone=UTC
    -- A page of the facts of a kind from a moment (included) to another (left out), as JSON in UTC, in a stable order. p_after: the order's two values of the last row that is known, as a JSON array: moment and id of tasks (end_time), running (start_time), health (started_at) and alerts (opened_at); moment and fact_id of errors and metrics; name and moment of queues and hosts. Raises AM001.
    GRANT EXECUTE TO automon_reader

FUNCTION extend_health_interval(p_report system_health) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Prolongs a component's open interval by a report, or closes it and opens the next. False for a report older than what is known; NULL when the component has no interval yet.

FUNCTION fact_identity(p_at timestamp with time zone, VARIADIC p_content text[]) RETURNS uuid
    SQL VOLATILE PARALLEL SAFE
    -- The identity of a fact: random when it happens now, derived from its content when its moment was given, so that a replay meets itself.

FUNCTION fact_keys(p_kind text) RETURNS text[]
    SQL IMMUTABLE PARALLEL SAFE
    -- The keys that a fact of that kind may have in a document of any kind; NULL for an unknown kind.

FUNCTION fact_moment(p_at timestamp with time zone) RETURNS timestamp with time zone
    SQL VOLATILE
    -- The moment of a fact: the one given, or now. Raises AM005 invalid_time for one more than a minute ahead, or before the year 2000.

FUNCTION fallback_of(p_channel text) RETURNS text
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The channel that speaks for another: the one that its config names, else the journal. NULL for the journal, and where there is none.

FUNCTION finish_delivery_attempt(p_delivery_id bigint, p_holder text, p_outcome text, p_duration_seconds double precision, p_detail text DEFAULT ''::text, p_reason text DEFAULT NULL::text, p_retry_after interval DEFAULT NULL::interval, p_final_status text DEFAULT NULL::text, p_channel_pause interval DEFAULT NULL::interval, p_stops_channel boolean DEFAULT false) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records how an attempt ended (sent, failed, or unknown: it may have arrived) and what follows: another attempt after a while, or a final status (failed, expired), which the fallback tells of; a pause for the channel, or its stop. False when the lease was lost; the attempt is recorded all the same.

FUNCTION finish_job_run(p_run_id bigint, p_outcome text, p_counts jsonb DEFAULT '{}'::jsonb, p_error text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records how a run ended (succeeded or failed) and what it counted; false when it had ended.

FUNCTION finished_tasks_evidence(p_task_type text, p_now timestamp with time zone, p_of text) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What the last hour's tasks of a type were, seen for their failures or for their durations: counts, the trend of six hours, and of the newest thousand the workers, messages, first and last time.

FUNCTION first_kept_day(p_setting text, p_now timestamp with time zone) RETURNS timestamp with time zone
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The beginning of the first UTC day that a setting of the retention still keeps.

FUNCTION follow_alert(p_alert alerts, p_finding monitoring_finding, p_now timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Brings an open alert up to what is measured now; answers whether its severity changed. Only apply_findings calls it.

FUNCTION follow_server(p_state rollup_state, p_now timestamp with time zone) RETURNS rollup_state
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Begins anew, from the next UTC day on, on a server that numbers its transactions in another way, as after a restore from a dump; rebuild_rollups adds what is older.

FUNCTION forget_expired_sources(p_now timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Forgets queues and hosts of which no report is kept; answers how many. One that reports again at this very moment waits for the end of the transaction.

FUNCTION forget_rollups(p_now timestamp with time zone, p_limit integer) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Deletes hours that have passed their term, a limited number of each kind; answers how many.

FUNCTION forget_source(p_kind text, p_name text) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Stops watching a queue, a host or a component (type/name) that is gone for good: its silence is no alert any more. Its next report brings it back. False when it is not watched. Raises AM001.
    GRANT EXECUTE TO automon_operator

FUNCTION get_alert_context(p_alert_id bigint, p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, TimeZone=UTC
    -- What explains an alert beside its story, as JSON: the thresholds that judge it, when it resolves and reminds, its trend over twelve hours, the silences that cover it, and what else changed near its beginning. NULL for a number that there is not.
    GRANT EXECUTE TO automon_reader

FUNCTION get_alert_story(p_alert_id bigint) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- An alert as JSON, with each of its transitions and what became of their deliveries; NULL for a number that there is not.
    GRANT EXECUTE TO automon_reader

FUNCTION get_alert_trend(p_alert_type text, p_source text, p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How what an alert is about came to be, over twelve hours: {"of", "step_seconds", "values"}, oldest first, null where nothing was measured. NULL for alert types of which no history is kept (silence, running and response time).
    GRANT EXECUTE TO automon_reader

FUNCTION get_alerts(p_open boolean DEFAULT true, p_source text DEFAULT NULL::text, p_severity text DEFAULT NULL::text, p_alert_type text DEFAULT NULL::text, p_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_unacknowledged boolean DEFAULT false, p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(id bigint, alert_type text, source text, severity text, status text, summary text, value double precision, threshold double precision, unit text, opened_at timestamp with time zone, age_seconds double precision, last_seen_at timestamp with time zone, clear_since timestamp with time zone, peak_severity text, peak_summary text, peak_at timestamp with time zone, acknowledged_at timestamp with time zone, acknowledged_by text, acknowledged_note text, silenced_until timestamp with time zone, last_told_at timestamp with time zone, resolved_at timestamp with time zone, resolved_by text, evidence jsonb)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The open alerts, worst first; or, with p_open false, also those that are resolved and still kept, newest first. Of one source, one type, a severity or worse (a resolved one counts at its worst), open or resolved since a moment, not acknowledged. age_seconds of a resolved one: how long it lasted.
    GRANT EXECUTE TO automon_reader

FUNCTION get_automon_health(p_now timestamp with time zone DEFAULT clock_timestamp()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Whether checks ran and messages leave, as JSON: what a service says to those who watch it from outside.
    GRANT EXECUTE TO automon_reader

FUNCTION get_component_report(p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(source text, severity text, status text, since timestamp with time zone, reported_at timestamp with time zone, response_time_ms double precision, failure_reason text, is_silent boolean, alert_id bigint, alert_summary text, components bigint, ok_components bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The components, those in trouble first: state, since when, last report, response time in milliseconds, and whether they have fallen silent. components and ok_components count all of them, whatever the limit.
    GRANT EXECUTE TO automon_reader

FUNCTION get_component_uptime(p_component_type text, p_component_name text, p_window interval DEFAULT '24:00:00'::interval, p_now timestamp with time zone DEFAULT now()) RETURNS double precision
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Percent of the known time within the window in which a component was not unhealthy; NULL when nothing is known. Silence counts neither way.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION get_config_changes(p_limit integer DEFAULT 50) RETURNS TABLE(id bigint, at timestamp with time zone, noticed_by text, outcome text, actor text, host text, path text, file_changed_at timestamp with time zone, changes jsonb, problems jsonb)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The newest changes of the configuration, by files and by SQL, and the edits that were rejected. See the table config_changes.
    GRANT EXECUTE TO automon_reader

FUNCTION get_config_drift() RETURNS TABLE(kind text, name text, source text, level text, file_value double precision, database_value double precision, origin text, changed_at timestamp with time zone, changed_by text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Thresholds and settings that were changed by SQL since a service put its config in force: what the file said, what is in force (NULL: not used), who changed it (NULL: unknown) and when. None as long as no service has brought a config.
    GRANT EXECUTE TO automon_reader

FUNCTION get_config_in_force() RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The thresholds and settings that checks work with now, since when a service has put its config in force, and what has drifted from it since, as JSON.
    GRANT EXECUTE TO automon_reader

FUNCTION get_dashboard_summary(p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Everything at a glance, as JSON: tasks, errors, components, queues, hosts, alerts, and automon itself.
    GRANT EXECUTE TO automon_reader

FUNCTION get_deliveries(p_channel text DEFAULT NULL::text, p_alert_id bigint DEFAULT NULL::bigint, p_digest_id bigint DEFAULT NULL::bigint, p_ids bigint[] DEFAULT NULL::bigint[], p_in_trouble boolean DEFAULT false, p_limit integer DEFAULT 50) RETURNS SETOF jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The rows of v_deliveries as JSON, newest first: of a channel, an alert, a digest, by their numbers, or only what has not arrived.
    GRANT EXECUTE TO automon_reader

FUNCTION get_error_causes(p_component text DEFAULT NULL::text, p_window interval DEFAULT '24:00:00'::interval, p_limit integer DEFAULT 50, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(component text, error_type text, signature text, errors bigint, is_estimate boolean, severity text, tasks bigint, first_at timestamp with time zone, last_at timestamp with time zone, sample_message text, sample_task_id text, causes bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The errors of a window by cause, the most frequent first: component, type, and message without its numbers and ids; how often, of how many tasks, first, last, and the newest message as a sample. Exact for the newest 2,000 errors of a component; beyond them the counts of several messages of one type are an estimate. causes counts all of them, whatever the limit.
    GRANT EXECUTE TO automon_reader

FUNCTION get_host_report(p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(host text, severity text, cpu_percent double precision, memory_percent double precision, disks jsonb, container jsonb, host_cpu_percent double precision, host_memory_percent double precision, sampled_at timestamp with time zone, is_silent boolean, alert_id bigint, alert_summary text, hosts bigint, ok_hosts bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The hosts, those in trouble first, as their last sample has them (CPU: mean of the newest five): cpu_percent and memory_percent of whichever has less left, a container's limit or the host; both by themselves in container and in host_cpu_percent and host_memory_percent; the disks, fullest first; and whether the samples have stopped. hosts and ok_hosts count all of them, whatever the limit.
    GRANT EXECUTE TO automon_reader

FUNCTION get_metrics(p_now timestamp with time zone DEFAULT clock_timestamp(), p_most integer DEFAULT 1000) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- What /metrics tells of the database, as JSON: automon itself, open alerts, tasks, errors, queues, components and hosts. At most so many names of each kind; what is beyond is "other" or counted in left_out. Moments in Unix time.
    GRANT EXECUTE TO automon_reader

FUNCTION get_queue_report(p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(queue_name text, severity text, pending bigint, processing bigint, oldest_pending_seconds double precision, in_per_minute double precision, out_per_minute double precision, change_per_minute double precision, seconds_to_empty double precision, reported_at timestamp with time zone, is_silent boolean, alert_id bigint, alert_summary text, queues bigint, ok_queues bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The queues, those in trouble first: what waits and since when, how much comes in and goes out a minute (of the newest 60 reports of an hour; NULL when queues do not say what they completed), in how many seconds it would be empty (NULL: not shrinking). queues and ok_queues count all of them, whatever the limit.
    GRANT EXECUTE TO automon_reader

FUNCTION get_silences(p_ended boolean DEFAULT false, p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(id bigint, alert_type text, source text, starts_at timestamp with time zone, ends_at timestamp with time zone, created_by text, reason text, ended_by text, is_active boolean, hidden_messages bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The silences in force, the first to end first: what, who, why, until when, and how many messages they have hidden; with p_ended also those that are over, and who ended them before their time.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION get_source_kinds(p_source text, p_now timestamp with time zone DEFAULT now()) RETURNS text[]
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- What a name stands for, of component, task type, queue and host, by what was reported within a week. Empty: nothing of that name has reported.
    GRANT EXECUTE TO automon_reader

FUNCTION get_source_report(p_source text, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(alert_type text, source text, severity text, value double precision, unit text, summary text, rule jsonb, alert_id bigint, silences jsonb)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Every check of a source at a moment, firing or not: what it measures, the thresholds that judge it, the alert that is open. A value without number was not measured, summary says why. No row for a name that nothing has.
    GRANT EXECUTE TO automon_reader

FUNCTION get_sources(p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(kind text, name text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The names of what is watched: task types and components with errors of the last 24 hours, components (type/name), queues, hosts.
    GRANT EXECUTE TO automon_reader

FUNCTION get_status(p_limit integer DEFAULT 6, p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, TimeZone=UTC
    -- What is wrong and how the work goes, as JSON: the dashboard summary, the open alerts, worst first (the first few with their trend), and of tasks, queues, hosts and components those in trouble and a few others.
    GRANT EXECUTE TO automon_reader

FUNCTION get_task_details(p_task_type text, p_window interval DEFAULT '24:00:00'::interval, p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, TimeZone=UTC
    -- One task type, as JSON: what get_task_report says of it, its last twelve clock hours, the five that run longest now, and five late failures. NULL when nothing of it ended within the window or runs.
    GRANT EXECUTE TO automon_reader

FUNCTION get_task_report(p_task_type text DEFAULT NULL::text, p_window interval DEFAULT '24:00:00'::interval, p_limit integer DEFAULT NULL::integer, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(task_type text, severity text, runs bigint, completed bigint, failed bigint, cancelled bigint, failure_rate_percent double precision, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, running bigint, oldest_start timestamp with time zone, last_ended_at timestamp with time zone, last_status text, last_failed_at timestamp with time zone, last_error text, alert_id bigint, alert_summary text, task_types bigint, ok_task_types bigint)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The task types of a window, those in trouble first: runs that ended, how many failed, percentiles of their seconds (to about 2.5 percent), what runs now, how the last run ended, the open alert. task_types and ok_task_types count all of them, whatever the limit.
    GRANT EXECUTE TO automon_reader

FUNCTION get_task_statistics(p_task_type text DEFAULT NULL::text, p_window interval DEFAULT '24:00:00'::interval, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(task_type text, tasks bigint, completed bigint, failed bigint, cancelled bigint, failure_rate_percent double precision, avg_seconds double precision, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, max_seconds double precision, total_input_size numeric, total_output_size numeric, workers bigint, first_ended_at timestamp with time zone, last_ended_at timestamp with time zone)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How the tasks of each type (or of one) that ended within the window went: counts, failure rate in percent, durations in seconds (percentiles to about 2.5 percent), sizes, about how many workers.
    GRANT EXECUTE TO automon_reader

FUNCTION give_up_homeless_deliveries() RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Gives up what waits for a channel or a recipient that the config does not have any more.

FUNCTION give_up_old_deliveries(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Gives up what was tried for delivery.keep_trying_seconds, or has waited so long for a stopped channel, and canaries after five minutes; answers how many. What no service has tried yet never grows too old.

FUNCTION grade(p_thresholds monitoring_thresholds[], p_alert_type text, p_source text, p_value double precision) RETURNS TABLE(severity text, threshold double precision)
    SQL IMMUTABLE PARALLEL SAFE
    -- The severity of a value and the threshold that it reached; no severity and the lowest threshold for one within its limits. No row for an alert type without thresholds.

FUNCTION grant_to_roles() RETURNS void
    PLPGSQL VOLATILE
    -- Closes what the current transaction has made in the current schema to PUBLIC and to web roles, and opens what open_to has named, and what those views call, to the roles that exist. Idempotent.

FUNCTION hand_on_deliveries() RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Has the fallback told what its channel cannot say or has given up, unless it was told by itself; answers how many deliveries were handed on. They stay: a channel that works again says them late. The caller holds lock_alerts.

FUNCTION has_audience(p_alert alerts, p_kind text) RETURNS boolean
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Whether any channel is told of such a transition of an alert at its severity.

FUNCTION has_come(p_moment timestamp with time zone, p_pause interval, p_now timestamp with time zone) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a moment has come that was set a pause ahead. One that is further ahead than its pause was set by a clock that has been put back since, and has come.

FUNCTION has_numbers(p_fact jsonb) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a fact has a key that should be a number.

FUNCTION host_evidence(p_host text, p_measure text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How a host was at its last sample, and the trend of six hours.

FUNCTION host_samples_at(p_now timestamp with time zone) RETURNS TABLE(host text, cpu_percent double precision, memory_percent double precision, sample jsonb, sampled_at timestamp with time zone, samples bigint, rhythm_seconds double precision)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The latest sample of each host at a moment, its mean CPU over the newest five, and the mean seconds between them.

FUNCTION hour_window(p_now timestamp with time zone) RETURNS jsonb
    SQL STABLE PARALLEL SAFE
    -- The part of an evidence that says which hour was measured.

FUNCTION hourly_errors(p_component text, p_severities text[], p_now timestamp with time zone) RETURNS TABLE(step integer, errors bigint)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The errors of a component and some severities by clock hour, this one (step 0) and the eleven before.

FUNCTION hourly_host_values(p_host text, p_measure text, p_mount text, p_now timestamp with time zone) RETURNS TABLE(step integer, value double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- CPU, memory or one disk of a host in percent, as the last sample of each of the last twelve hours has it; step 0 is the newest.

FUNCTION hourly_tasks(p_task_type text, p_now timestamp with time zone) RETURNS TABLE(step integer, runs bigint, failed bigint, p95_seconds double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The tasks of a type by clock hour, this one (step 0) and the eleven before: how many, how many failed, 95th percentile of their seconds. Without the cancelled ones.

FUNCTION id_mistake(p_value text) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM014 invalid_document of an id that is no UUID, as a value.

FUNCTION in_words(p_value double precision, p_unit text DEFAULT ''::text) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- A value with its unit as a person reads it: seconds as s, min, h or days; %, ms; anything else as a bare number.

FUNCTION index_day(p_index text, p_table text, p_leaf oid) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes the part of a partitioned index that belongs to a day.

FUNCTION index_empty_days(p_index text, p_table text) RETURNS timestamp with time zone
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes the parts of a partitioned index for the days that are empty; answers from when on every day has its part.

FUNCTION index_past_day(p_now timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, lock_timeout=10ms
    -- Makes the part of a partitioned index for one day before yesterday that an upgrade has left out; false when there is none, or somebody writes to it. Who records into that day meanwhile waits.

FUNCTION instance_is_gone(p_instance text, p_now timestamp with time zone) RETURNS boolean
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Whether a service that was here has ended, or has not been heard of for the length of its lease while others were. What it holds may be taken over.

FUNCTION instance_lives(p_instance service_instances, p_now timestamp with time zone) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a service has been heard of within the length of its lease.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION is_count(p_value jsonb) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a value is a whole number that is not negative, or left out.

FUNCTION is_double(p_value jsonb) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a value is a number that a double precision holds.

FUNCTION is_fact(p_fact jsonb, p_keys text[]) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a part of a document is an object with no other keys than those.

FUNCTION is_name(p_value text) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Answers whether a text can name something: not empty, at most 512 bytes (what an index holds).

FUNCTION is_silenced(p_alert_type text, p_source text, p_at timestamp with time zone) RETURNS boolean
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Whether a silence covers an alert at a moment.

FUNCTION is_task(p_status text, p_start_time timestamp with time zone, p_end_time timestamp with time zone, p_duration_seconds double precision, p_input_size bigint, p_output_size bigint, p_progress double precision) RETURNS boolean
    PLPGSQL IMMUTABLE PARALLEL SAFE SET search_path=pg_catalog, pg_temp
    -- Whether a row can be a task: a known status, an end and a duration if and only if it does not run, no end before its start, no negative size, progress in percent.

FUNCTION is_uuid(p_value text) RETURNS boolean
    SQL IMMUTABLE PARALLEL SAFE
    -- Whether a text is a UUID.

FUNCTION job_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_job: whether automon's own jobs fail, or have not succeeded for too long, while a service runs.

FUNCTION judge_blind_periods(p_now timestamp with time zone) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Judges what is known of the blind periods of the last day, whenever more of it has been recorded since; answers how many alerts it opened. The caller holds lock_alerts.

FUNCTION judged_alert_types() RETURNS text[]
    SQL IMMUTABLE PARALLEL SAFE
    -- The alert types that evaluate_all judges.

FUNCTION just_cleaned(p_table text, p_days double precision, p_now timestamp with time zone) RETURNS boolean
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Whether the last clean-up was a day ago at the most and left nothing in a table that was so many days past its term: what is so now was recorded late, and goes with the next.

FUNCTION key_mistake(p_fact jsonb, p_keys text[]) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM014 invalid_document of a fact that is no object or has a key that is not among those, as a value.

FUNCTION kind_mistake(p_fact jsonb) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM014 invalid_document of what is no known kind of fact, as a value.

FUNCTION kinds_of_source(p_source text, p_now timestamp with time zone) RETURNS text[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What a name stands for: task type, component with errors (both of the last 24 hours), component (type/name), queue, host; none for a name that nothing has.

FUNCTION late_findings(p_began timestamp with time zone, p_ended timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The worst that was beyond its limits within a blind period, as far as it is recorded by now, and is no alert yet.

FUNCTION leave(p_instance text) RETURNS void
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Says that a service ends: what it holds is free for others at once.

FUNCTION left_unrepaired(p_alert alerts) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What the end of an alert did not repair, as the part "left" of an evidence; empty when nothing is left.

FUNCTION level_changes(p_alert_type text, p_source text, p_old jsonb, p_new jsonb) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The levels in which two rows of monitoring_thresholds differ, as config_changes keeps them. NULL: there is no row.

FUNCTION lock_alerts() RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Keeps alerts, and the handing on of their deliveries, from being changed by others until the transaction ends.

FUNCTION locked_rollup_state(p_now timestamp with time zone) RETURNS rollup_state
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- The state of the rollups, kept from others until the transaction ends; NULL while another has it.

FUNCTION log_bucket(p_value double precision) RETURNS integer
    SQL IMMUTABLE PARALLEL SAFE
    -- The bucket of a logarithmic histogram that a number falls into; each is a tenth wider than the one before. Grows with the number, negative ones included; all below 5e-42 share one.

FUNCTION make_digest(p_members bigint[], p_now timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes one delivery of many to the same recipient, which stay on record as its members; answers its number. Without a cause when they have several.

FUNCTION metric_keys() RETURNS text[]
    SQL IMMUTABLE PARALLEL SAFE
    -- The keys that a measurement in a document may have.

FUNCTION metrics_last_day(p_now timestamp with time zone) RETURNS TABLE(metric_name text, metric_type text, component text, unit text, hour timestamp with time zone, measurements bigint, avg_value double precision, min_value double precision, max_value double precision, percentiles double precision[])
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Each measurement by UTC hour, of this hour and the 23 before: mean, extremes, and 50th, 95th and 99th percentile (to about 2.5 percent).
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION metrics_of_automon(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The part "automon" of get_metrics: its services, jobs, channels, rollups and partitions, and for how long it was blind.

FUNCTION metrics_of_channels(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How each channel fares, the journal too: its state, what waits and since when, and what was given up within a day.

FUNCTION metrics_of_components(p_now timestamp with time zone, p_most integer, OUT components jsonb, OUT left_out bigint) RETURNS record
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The part "components" of get_metrics: the state of each; beyond a limit how many are in which, those in trouble named first.

FUNCTION metrics_of_errors(p_now timestamp with time zone, p_most integer, OUT errors jsonb, OUT left_out bigint) RETURNS record
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The part "errors" of get_metrics: those of an hour by component and severity, limited as the tasks are.

FUNCTION metrics_of_hosts(p_now timestamp with time zone, p_most integer, OUT hosts jsonb, OUT disks jsonb, OUT left_out bigint, OUT disks_left_out bigint) RETURNS record
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The parts "hosts" and "disks" of get_metrics: the newest sample of each host that was sampled within a day, the busiest and the fullest up to a limit.

FUNCTION metrics_of_jobs(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How automon's own jobs ran last, within three days: when, how it ended, how long it took, and when one last succeeded.

FUNCTION metrics_of_queues(p_now timestamp with time zone, p_most integer, OUT queues jsonb, OUT left_out bigint) RETURNS record
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The part "queues" of get_metrics: the newest report of each queue that reported within a day; those beyond the longest added up.

FUNCTION metrics_of_tasks(p_now timestamp with time zone, p_most integer, OUT tasks jsonb, OUT left_out bigint) RETURNS record
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The part "tasks" of get_metrics, by task type: what runs, what ended within an hour and how, and how long that took. Types beyond the busiest are one row, "other"; left_out: how many they are.

FUNCTION metrics_since(p_hour timestamp with time zone) RETURNS TABLE(hour timestamp with time zone, metric_name text, metric_type text, component text, unit text, measurements bigint, total double precision, min_value double precision, max_value double precision, counts bigint[], means double precision[])
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, plan_cache_mode=force_custom_plan, enable_sort=off
    -- The measurements from the beginning of a UTC hour on, by hour and what they are of, with their histogram: the count and the mean of each bucket, rising.

FUNCTION missed_reports(p_began timestamp with time zone, p_ended timestamp with time zone) RETURNS TABLE(kind text, sources bigint, reports double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How many reports of how many sources were to be expected within a blind period, by their rhythm before it, and are not there.

FUNCTION mistake(p_code text, p_message text, p_hint text) RETURNS jsonb
    SQL IMMUTABLE PARALLEL SAFE
    -- What is wrong with a fact, as JSON: {"code", "message", "hint"}.

FUNCTION moment_mistake(p_what text, p_value text) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM005 invalid_time or AM006 naive_time of a text that is no moment, as a value.

FUNCTION moment_of(p_value text, p_looks_like_one boolean) RETURNS timestamp with time zone
    SQL STABLE PARALLEL SAFE
    -- The moment that a text means; NULL when it is none, has no time zone, or names a day that there is not.

FUNCTION moment_pattern() RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- The regular expression of a moment in ISO 8601 with its time zone; it lets February have 31 days.

FUNCTION naive_mistake() RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM006 naive_time, as a value.

FUNCTION name_mistake(p_what text, p_value text) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM001 invalid_name, as a value.

FUNCTION negative_mistake(p_what text, p_value double precision) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM004 invalid_number of what cannot be negative, as a value.

FUNCTION newest_failures(p_task_type text, p_window interval, p_limit integer, p_now timestamp with time zone) RETURNS TABLE(task_id text, worker_id text, start_time timestamp with time zone, end_time timestamp with time zone, duration_seconds double precision, current_step text, error_message text)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Late failures of a type: the last of each minute of this hour, and the last of each hour and duration before, the newest first.

FUNCTION newest_tasks(p_task_type text, p_now timestamp with time zone, p_of text) RETURNS SETOF processing_metrics
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The newest 1,000 tasks of a type of the last hour, for their failures or for their durations.

FUNCTION next_delivery_in(p_channel text) RETURNS interval
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How long until it is worth to claim a delivery of the channel, as things stand: until its moment, its recipient's turn, or the end of the lease of one that is being sent. NULL when none waits or the channel is stopped.

FUNCTION note_change_by_sql() RETURNS trigger
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Keeps in config_changes which session's user has changed a threshold or a setting past the config file, and how.

FUNCTION note_channel_failure(p_channel text, p_claimed_at timestamp with time zone, p_error text, p_pause interval, p_stops boolean) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Remembers that a channel fails, and lets it rest for a pause; or stops it until somebody resumes it, which the other channels hear at once. The caller holds lock_alerts when it stops.

FUNCTION note_channel_success(p_channel text) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Remembers that a channel works.

FUNCTION note_put_back(p_drift jsonb) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Keeps in config_changes what of a drift, as get_config_drift has told it, is in force no more.

FUNCTION note_sight(p_now timestamp with time zone, p_good_for interval, p_why text DEFAULT NULL::text) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Remembers that somebody watches, and for how long that is good. With a reason: when the sight before was not good until now, keeps the time between as a blind period.

FUNCTION nothing_removed() RETURNS jsonb
    SQL IMMUTABLE PARALLEL SAFE
    -- The answer of a clean-up that removed nothing.

FUNCTION number_in_words(p_value double precision) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- A number as a person reads it: thousands separated, two digits behind the point at the most.

FUNCTION numbers_mistake(p_fact jsonb) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM004 invalid_number of the first key of a fact that should be a number and is none, as a value; NULL when there is none.

FUNCTION open_alert(p_finding monitoring_finding, p_now timestamp with time zone) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Opens an alert for a finding. Only apply_findings calls it.

FUNCTION open_alert_or_refuse(p_alert_id bigint) RETURNS alerts
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- The alert of that number, open or not, kept from changing until the transaction ends. Raises AM009.

FUNCTION open_to(p_role text, VARIADIC p_names text[]) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Says that functions or views of these names are for a role; grant_to_roles then opens them. A file that adds one calls this before it ends. Idempotent.

FUNCTION open_transactions(p_snapshot pg_snapshot, p_offset bigint, p_end bigint) RETURNS bigint[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The transactions before an end that were open at a snapshot, as recording_transaction numbers them.

FUNCTION percentiles_of(p_counts bigint[], p_means double precision[], p_fractions double precision[]) RETURNS double precision[]
    PLPGSQL IMMUTABLE PARALLEL SAFE SET search_path=pg_catalog, pg_temp
    -- Percentiles as percentile_cont gives them, for rising fractions, of a histogram: how many values each bucket holds and their mean, by rising bucket. Off by less than a bucket's width, and exact when the values of each bucket are equal.

FUNCTION preparation_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_storage: whether the partitions of today and, from six hours before it, of tomorrow (UTC) are there.

FUNCTION prepare_days(p_now timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp, lock_timeout=1s
    -- Makes the partitions of yesterday, today and tomorrow, as far as that can be done within a second; false when it cannot.

FUNCTION prepare_for_facts(p_facts mixed_fact[]) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Takes the lock and makes the partitions that these facts need.

FUNCTION preview_silence(p_source text, p_alert_type text DEFAULT '*'::text, p_window interval DEFAULT '7 days'::interval, p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(messages bigint, alerts bigint, low bigint, medium bigint, high bigint, critical bigint, worst_alert_id bigint, worst_source text, worst_severity text, worst_summary text, worst_opened_at timestamp with time zone)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- What a silence would have hidden within the window, as far as alerts are still kept: messages, alerts by their worst severity, and the worst of them.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION queue_evidence(p_queue_name text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How a queue came to be as long as it is: an hour's beginning and end, its oldest task, what was done, and the trend of six hours.

FUNCTION queue_reports_at(p_now timestamp with time zone) RETURNS TABLE(queue_name text, pending bigint, processing bigint, oldest_pending_seconds double precision, reported_at timestamp with time zone, reports bigint, rhythm_seconds double precision)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The latest report of each queue at a moment, how many of its newest five there are, and the mean seconds between them.

FUNCTION quiet_summary(p_alert_type text) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- What is said of a source that a check no longer measures.

FUNCTION raise_findings(p_findings monitoring_finding[], p_now timestamp with time zone) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Opens and escalates alerts, and does nothing else to them; answers how many. What is better than before is left to apply_findings.

FUNCTION read_errors(p_errors jsonb) RETURNS error_fact[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Reads a document of errors; what is wrong with one stands beside it.

FUNCTION read_facts(p_facts jsonb) RETURNS mixed_fact[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Reads a document of any kind of fact, in its order; what can be seen to be wrong with one stands beside it.

FUNCTION read_performance_metrics(p_metrics jsonb) RETURNS metric_fact[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Reads a document of measurements; what is wrong with one stands beside it.

FUNCTION read_tasks(p_tasks jsonb) RETURNS task_fact[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Reads a document of tasks that have ended; what is wrong with one stands beside it.

FUNCTION rebuild_rollups(p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Makes the rollups anew, in one transaction, from all facts that their retention still keeps; answers how many of each. Readers see the old ones until then, and the job waits.

FUNCTION record_blindness(p_source text, p_began timestamp with time zone, p_ended timestamp with time zone, p_summary text) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Keeps a time in which nobody or one service watched nothing as an alert that is over, and has its end told, once. The caller holds lock_alerts.

FUNCTION record_config_judgements(p_instance text, p_host text, p_path text, p_judgements jsonb) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Keeps what a service has judged of its file, oldest first: [{at, noticed_by, actor, file_changed_at, and problems, or entries {key: {value, line}} with changes]}]. Without changes they are what differs from the entries known of that host and path. Opens or resolves the alert automon_config by the last one. Answers how many said something new.

FUNCTION record_error(p_task_id text, p_error_type text, p_severity text, p_error_message text, p_component text DEFAULT NULL::text, p_stack_trace text DEFAULT NULL::text, p_context jsonb DEFAULT NULL::jsonb, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records an error of a component ('unknown' when none is named); the task may be NULL. True when stored, false when this very error of that moment is known. Raises AM001, AM003, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION record_error(p_task_id text, p_error_type text, p_severity text, p_error_message text, p_component text, p_stack_trace text, p_context jsonb, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION record_errors(p_errors jsonb) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records errors: an array of {"error_type", "severity", "error_message", "at", "component", "task_id", "stack_trace", "context", "id"}, at best a thousand. The moment and the id (a UUID), or without one the content, tell an error from others. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; an error is refused with AM001, AM003, AM005, AM006 or AM014. Raises AM014 for what is no array.
    GRANT EXECUTE TO automon_writer

FUNCTION record_facts(p_facts jsonb) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records what has no bulk form of its own, in the order of the array: objects {"fact", "at", ...}, at best a thousand, where fact is start, heartbeat, end, health, queue or host and the other keys are the arguments, without p_, of start_task_tracking, record_task_heartbeat, complete_task_tracking, update_system_health, update_queue_metrics and record_host_sample, and of a start parent_task_id. What these call false is known, what they raise is refused. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0. Raises AM014 for what is no array. Calls that report health, queues or hosts wait for each other until the end of their transactions: one call a transaction.
    GRANT EXECUTE TO automon_writer

FUNCTION record_host_sample(p_host text, p_sample jsonb, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records a look at a host: {"cpu_percent", "memory_percent", "swap_percent", "load_per_core", "disks": [{"mount", "percent", ...}], ...}. True when stored, false when that moment is known. Raises AM001, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION record_host_sample(p_host text, p_sample jsonb, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION record_performance_metric(p_metric_name text, p_metric_type text, p_value double precision, p_unit text DEFAULT NULL::text, p_component text DEFAULT NULL::text, p_tags jsonb DEFAULT NULL::jsonb, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records a measurement. True when stored, false when this very measurement of that moment is known. Raises AM001, AM004, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION record_performance_metric(p_metric_name text, p_metric_type text, p_value double precision, p_unit text, p_component text, p_tags jsonb, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION record_performance_metrics(p_metrics jsonb) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records measurements: an array of {"metric_name", "metric_type", "value", "unit", "component", "tags", "at", "id"}, at best a thousand. The moment and the id (a UUID), or without one the content, tell a measurement from others. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; a measurement is refused with AM001, AM004, AM005, AM006 or AM014. Raises AM014 for what is no array.
    GRANT EXECUTE TO automon_writer

FUNCTION record_task_heartbeat(p_task_id text, p_progress double precision DEFAULT NULL::double precision, p_step text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records that a task is alive, its progress in percent and its step. True when stored; false when a later heartbeat is known or the task has ended. Raises AM004, AM005, AM007.
    GRANT EXECUTE TO automon_writer

FUNCTION record_task_heartbeat(p_task_id text, p_progress double precision, p_step text, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION record_tasks(p_tasks jsonb) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records tasks that have ended: an array of {"task_id", "task_type", "started_at", "ended_at", "status", "input_size", "output_size", "worker_id", "step_timings", "error_message", "parent_task_id"}, at best a thousand. Task and start tell a run from others: one that runs is completed, one that has ended is known. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; a task is refused with AM001, AM002, AM004, AM005, AM006, AM008 or AM014. Raises AM014 for what is no array. Calls wait for each other until the end of their transactions: one call a transaction.
    GRANT EXECUTE TO automon_writer

FUNCTION record_transition(p_alert alerts, p_kind text, p_at timestamp with time zone, p_previous_severity text DEFAULT NULL::text, p_actor text DEFAULT NULL::text, p_note text DEFAULT NULL::text) RETURNS bigint
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Writes a transition of an alert and, in the same transaction, a delivery for each channel and recipient that is to hear of it.

FUNCTION recording_transaction() RETURNS bigint
    SQL VOLATILE
    -- The current transaction as a number that grows for as long as the database lives: what a restored database adds to its server's own numbers is put in by follow_server.

FUNCTION refuse(p_code text, p_message text, p_hint text) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises the named error with its hint; whatever the caller wrote is undone.

FUNCTION refuse_early_end(p_task_id text, p_at timestamp with time zone) RETURNS void
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Raises AM008 for an end before the start of the task that runs, unless it is the known end of an earlier run. Looks into the history: not for the hot path.

FUNCTION refuse_mistake(p_mistake jsonb) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises a mistake as an error.

FUNCTION refuse_moment(p_at timestamp with time zone) RETURNS timestamp with time zone
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Raises AM005 invalid_time.

FUNCTION refuse_naive_time() RETURNS boolean
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM006 naive_time.

FUNCTION refuse_name(p_what text, p_value text) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM001 invalid_name.

FUNCTION refuse_negative(p_what text, p_value double precision) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM004 invalid_number.

FUNCTION refuse_newer_schema(p_newest_known text) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Raises AM011 when the ledger holds a file that the caller does not know, naming both files and the versions of automon (the setting automon.version is the caller's).

FUNCTION refuse_no_array(p_document jsonb) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM014 invalid_document.

FUNCTION refuse_severity(p_value text) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM003 invalid_severity.

FUNCTION refuse_unknown_channel(p_channel text) RETURNS void
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Raises AM013 for a channel that no service has brought from its config.

FUNCTION refuse_unknown_task(p_task_id text) RETURNS boolean
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- False for a task that has ended; raises AM007 for one that never started. Looks through every day: not for the hot path.

FUNCTION remind_of_alerts(p_alert_types text[], p_now timestamp with time zone) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Reminds of critical alerts that nobody has acknowledged for alerts.remind_after_seconds, and of those that an ended silence has hidden.

FUNCTION report_outage(p_host text, p_from timestamp with time zone, p_to timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Tells of the end of an outage that a service had told of by itself. False when all services were blind: then tell_of_blindness tells.

FUNCTION resolve_alert(p_alert_id bigint, p_by text DEFAULT NULL::text, p_note text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Resolves an alert by hand. If its cause still stands, the next check opens another one: silence it to keep it quiet. False when it is resolved. Raises AM009.
    GRANT EXECUTE TO automon_operator

FUNCTION resolve_resolved_alerts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Resolves the alerts whose cause is gone, and opens none; answers how many it resolved.

FUNCTION resume_channel(p_channel text) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Takes a stopped or failing channel up again: all that waits is tried at once. False when it was neither. Raises AM013.
    GRANT EXECUTE TO automon_operator

FUNCTION retention_days(p_table text) RETURNS double precision
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How many days a partitioned table is kept; for errors the longest of the four. NULL: for ever.

FUNCTION retention_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_storage: for how many days a table of facts has held what is past its term.

FUNCTION retention_state(p_now timestamp with time zone) RETURNS TABLE(table_name text, kept_days double precision, oldest_day date, past_term_days double precision, partitions bigint, has_today boolean, has_tomorrow boolean)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- How each table of facts is kept: its term, its oldest day, for how long a day (or an error, by its severity) has been past its term, and whether today and tomorrow have their partitions. Reads the catalogue, and one error of each severity.

FUNCTION retention_summary(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The oldest day that each table of facts keeps, and for how many whole days something in it has been past its term.

FUNCTION role_functions(p_role text) RETURNS SETOF text
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The names of the functions and views that are opened to a role.

FUNCTION roll_up(p_limit integer DEFAULT 100000, p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Rolls up what has been recorded since it was last called, a limited number of facts of each kind, and answers how many of each; "more": call it again. NULL while another session is at it. What the service does every second, and every check before it judges.

FUNCTION rolled_span(p_from timestamp with time zone, p_to timestamp with time zone, p_minutes_since timestamp with time zone, p_hours_since timestamp with time zone, OUT begins timestamp with time zone, OUT hours_begin timestamp with time zone, OUT hours_end timestamp with time zone, OUT ends timestamp with time zone) RETURNS record
    PLPGSQL IMMUTABLE PARALLEL SAFE SET search_path=pg_catalog, pg_temp
    -- The part of a span that rollups answer for: minutes from its beginning, hours in the middle, minutes to its end. What lies before and behind is read from the facts.

FUNCTION rollup_findings(p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- automon_storage: for how long, in seconds, facts have waited to be rolled up while a service runs.

FUNCTION rollup_lag(p_now timestamp with time zone DEFAULT clock_timestamp()) RETURNS TABLE(behind_seconds double precision, rolled_at timestamp with time zone, facts_wait boolean, open_transactions integer, since timestamp with time zone, why text)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- How far the rollups are behind the facts, in seconds, and from ten seconds on why. What is behind is read from the facts meanwhile: slower, and as exact. Facts of open transactions are added when these end. since: what happened before is always read from the facts, until rebuild_rollups; NULL for nothing.
    GRANT EXECUTE TO automon_reader

FUNCTION route_transition(p_transition_id bigint, p_at timestamp with time zone) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Writes a delivery of a transition for each channel and recipient that is to hear of it, and answers how many; those that exist stay as they are. The caller has hand_on_deliveries pass on what a failing channel cannot say.

FUNCTION rule_of(p_alert_type text, p_source text) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The thresholds that judge a source, as JSON: of the source itself, else of every source (*), and where they come from. NULL for an alert type without any.

FUNCTION run_monitoring_checks(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- All checks in one pass, after the rollups, what was recorded late of a blind period, and the partitions of the coming days; answers how many alerts it changed. What the service runs every five minutes.

FUNCTION running_tasks_evidence(p_task_type text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The oldest running tasks of a type: worker, step, progress, last heartbeat.

FUNCTION sample_mistake(p_value jsonb) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM014 invalid_document of a look at a host that is no object, as a value.

FUNCTION seeing_seconds(p_from timestamp with time zone, p_to timestamp with time zone) RETURNS double precision
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The seconds between two moments without those in which automon was blind: what did not arrive then is neither silent nor late.

FUNCTION send_canary(p_by text DEFAULT NULL::text, p_channel text DEFAULT NULL::text) RETURNS SETOF bigint
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Has a marked message sent through one or every channel, on the way that alerts take; answers the numbers of the deliveries, whose receipts v_deliveries shows. Raises AM013.
    GRANT EXECUTE TO automon_operator

FUNCTION server_identity() RETURNS text
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What tells this server from one that its databases were copied from; empty where that is not to be known.

FUNCTION set_setting(p_name text, p_value double precision, p_origin text DEFAULT 'sql'::text) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Sets a setting, in the unit that its name ends with; answers whether that changed anything. Raises AM004, AM012.

FUNCTION set_threshold(p_alert_type text, p_source text, p_low double precision, p_medium double precision, p_high double precision, p_critical double precision, p_origin text DEFAULT 'sql'::text) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Sets from which value on a source (* for all) is of which severity; NULL leaves a level out. Answers whether that changed anything. A service that runs puts its config's values back. Raises AM012.

FUNCTION setting(p_name text) RETURNS double precision
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The value in force of a setting; NULL for an unknown name.

FUNCTION severity_mistake(p_value text) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM003 invalid_severity, as a value.

FUNCTION severity_rank(p_severity text) RETURNS integer
    SQL IMMUTABLE PARALLEL SAFE
    -- 1 (low) to 4 (critical); NULL for anything else.
    GRANT EXECUTE TO automon_operator
    GRANT EXECUTE TO automon_reader

FUNCTION shown(p_value text) RETURNS text
    SQL IMMUTABLE PARALLEL SAFE
    -- A wrong value as a message shows it: not more than its beginning.

FUNCTION silence_alerts(p_source text, p_duration interval, p_reason text DEFAULT NULL::text, p_by text DEFAULT NULL::text, p_alert_type text DEFAULT '*'::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS bigint
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Sends no messages about a source (* for every one) for a while; alerts are still opened and kept, and told when the silence ends and they still stand. Answers the silence's number. Raises AM001, AM005.
    GRANT EXECUTE TO automon_operator

FUNCTION silences_of(p_alert_type text, p_source text, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The silences that cover an alert at a moment, as JSON.

FUNCTION sketch(p_name text) RETURNS bit
    SQL IMMUTABLE PARALLEL SAFE
    -- A set of names as a bitmap, one bit a name, to be united by bit_or; count_sketched tells how many names there were.

FUNCTION stamp_change_by_sql() RETURNS trigger
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Says of a row that an UPDATE has changed and not said so that SQL has changed it, and when.

FUNCTION start_task_tracking(p_task_id text, p_task_type text, p_input_size bigint DEFAULT NULL::bigint, p_worker_id text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records that a task starts. True when stored; false when a task of that id runs already (the first start stands) or this start was recorded before. Raises AM001, AM004, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION start_task_tracking(p_task_id text, p_task_type text, p_input_size bigint, p_worker_id text, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION stated(p_fact jsonb, p_key text) RETURNS jsonb
    SQL IMMUTABLE PARALLEL SAFE
    -- What a fact says under a key; NULL when it says null or nothing.

FUNCTION step_of(p_step interval, p_at timestamp with time zone, p_to timestamp with time zone) RETURNS integer
    SQL IMMUTABLE PARALLEL SAFE
    -- How many whole steps a moment lies before the end of a span; 0 without steps.

FUNCTION storage_report(p_now timestamp with time zone DEFAULT now()) RETURNS TABLE(table_name text, kept_days double precision, oldest_day date, past_term_days double precision, partitions bigint, size_bytes bigint, tomorrow_is_prepared boolean)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- What each table of facts keeps: its term in days (empty: for ever), its oldest day, for how many days something has been past its term (0: nothing), days, size in bytes, and whether tomorrow has its partition.
    GRANT EXECUTE TO automon_reader

FUNCTION sync_channels(p_channels jsonb) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Makes the channels those of the list, takes up again those whose address or secret has changed, gives up what waits for one that is gone, and tells of open alerts that were raised while there was no channel.

FUNCTION sync_configuration(p_config jsonb) RETURNS void
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Puts a config in force, in one transaction: {"thresholds": [{alert_type, source, low, medium, high, critical}], "settings": {name: number}, "channels": [{name, recipients, min_severity, notify_on, fallback, fallback_after_seconds, fingerprint}]}. What was set by SQL is put back, and that is kept in config_changes. Idempotent. Raises AM004, AM012.

FUNCTION take_back_abandoned_deliveries(p_channel text, p_now timestamp with time zone) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Puts back what a sender has claimed that is gone or whose lease has ended, as uncertain: it may have been sent. Keeps that as an attempt.

FUNCTION task_keys() RETURNS text[]
    SQL IMMUTABLE PARALLEL SAFE
    -- The keys that a task in a document may have.

FUNCTION task_summary(p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The part "tasks" of the dashboard summary.

FUNCTION tasks_between(p_from timestamp with time zone, p_to timestamp with time zone, p_task_type text DEFAULT NULL::text, p_step interval DEFAULT NULL::interval) RETURNS TABLE(step integer, task_type text, status text, bucket integer, tasks bigint, seconds double precision, max_seconds double precision, input_size numeric, output_size numeric, first_end timestamp with time zone, last_end timestamp with time zone, last_start timestamp with time zone, workers bit)
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp, plan_cache_mode=force_custom_plan
    -- The tasks that ended after a moment and up to another, of one type or all, by type, status and bucket of their duration; with a step also by steps (0 the newest; to the minute, unless the end of the span is a whole one).
    GRANT EXECUTE TO automon_reader

FUNCTION tasks_running_at(p_now timestamp with time zone) RETURNS SETOF processing_metrics
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- The tasks that were running at a moment, whether or not they have ended since.

FUNCTION tell_of_blindness(p_now timestamp with time zone) RETURNS void
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Tells of each blind period that lasted for alerts.blind_after_seconds, once, a few seconds after its end.

FUNCTION tell_of_config(p_host text, p_is_right boolean, p_now timestamp with time zone) RETURNS integer
    PLPGSQL VOLATILE SET search_path=pg_catalog, pg_temp
    -- Opens the alert about a host's config at once, or resolves it when the file is right; answers how many alerts changed. The caller holds lock_alerts.

FUNCTION tell_of_trouble() RETURNS trigger
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Tells services, once a transaction, that something was recorded that should be judged at once.

FUNCTION tend_deliveries(p_now timestamp with time zone DEFAULT now()) RETURNS jsonb
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Puts back what was abandoned, gives up what is too old or has nowhere to go, and has fallbacks told what their channels cannot say; answers how many expired and were handed on. Part of the self-check.

FUNCTION term_ended(p_now timestamp with time zone, p_days double precision) RETURNS timestamp with time zone
    SQL IMMUTABLE PARALLEL SAFE
    -- The moment before which everything is past a term of that many days.

FUNCTION threshold_drift(p_thresholds jsonb) RETURNS TABLE(alert_type text, source text, level text, file_value double precision, database_value double precision, origin text, updated_at timestamp with time zone)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Where the thresholds in force differ from those of a list [{alert_type, source, low, medium, high, critical}], level by level. NULL: the level is not used.

FUNCTION thresholds_in_force() RETURNS monitoring_thresholds[]
    PLPGSQL STABLE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- All thresholds as one value, the form in which an evaluate_* function takes those of a replay.

FUNCTION time_mistake(p_at timestamp with time zone, p_now timestamp with time zone) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- AM005 invalid_time of a moment that no fact can have, as a value.

FUNCTION transition_message(p_delivery alert_deliveries) RETURNS jsonb
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What a message about a transition may say: the transition, its alert, and what else is open.

FUNCTION trend(p_of text, p_step interval, p_values double precision[]) RETURNS jsonb
    SQL STABLE PARALLEL SAFE
    -- The part of an evidence that shows how a value came about: oldest first, one value a step, null where nothing was measured.

FUNCTION unacknowledge_alert(p_alert_id bigint, p_by text DEFAULT NULL::text, p_note text DEFAULT NULL::text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Gives an alert back that was acknowledged: it is nobody's, and reminders go on. Who had it stays in its story; no channel is told. False when it is not acknowledged or is resolved. Raises AM009.
    GRANT EXECUTE TO automon_operator

FUNCTION unindexed_days(p_index text, p_table text) RETURNS TABLE(leaf oid, day date, is_used boolean)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The days of a table that lack their part of a partitioned index, and whether they hold anything.

FUNCTION update_queue_metrics(p_queue_name text, p_pending bigint, p_processing bigint DEFAULT NULL::bigint, p_completed bigint DEFAULT NULL::bigint, p_failed bigint DEFAULT NULL::bigint, p_oldest_pending_seconds double precision DEFAULT NULL::double precision, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records how long a queue is; completed and failed count since the last report. True when stored, false when that moment is known. Raises AM001, AM004, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION update_queue_metrics(p_queue_name text, p_pending bigint, p_processing bigint, p_completed bigint, p_failed bigint, p_oldest_pending_seconds double precision, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION update_system_health(p_component_type text, p_component_name text, p_status text, p_response_time_ms double precision DEFAULT NULL::double precision, p_failure_reason text DEFAULT NULL::text, p_details jsonb DEFAULT NULL::jsonb, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Records how a component is. True when stored, false when a later report is known. Response time in milliseconds. Raises AM001, AM002, AM004, AM005.
    GRANT EXECUTE TO automon_writer

FUNCTION update_system_health(p_component_type text, p_component_name text, p_status text, p_response_time_ms double precision, p_failure_reason text, p_details jsonb, p_at timestamp without time zone) RETURNS boolean
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Refuses a moment without a time zone (AM006 naive_time).
    GRANT EXECUTE TO automon_writer

FUNCTION urgent_alert_types(p_now timestamp with time zone) RETURNS text[]
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The alert types of which something seems worse than its open alert says, or has none; NULL when there are none.

FUNCTION urgent_errors(p_now timestamp with time zone) RETURNS TABLE(component text, errors double precision, critical double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The errors of each component within about the last hour, to the minute and never too few; where there are no minutes, of the newest ten thousand errors.

FUNCTION urgent_findings(p_alert_types text[], p_now timestamp with time zone) RETURNS SETOF monitoring_finding
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The exact findings of some of the alert types that cannot wait.

FUNCTION urgent_measurements(p_now timestamp with time zone) RETURNS TABLE(alert_type text, source text, value double precision)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What cannot wait, measured cheaply: errors to the minute, reported trouble, the oldest running task of each type, backlogs reported within five minutes.

FUNCTION value_mistake(p_metric_name text, p_value text) RETURNS jsonb
    PLPGSQL IMMUTABLE SET search_path=pg_catalog, pg_temp
    -- AM004 invalid_number of a measurement, as a value.

FUNCTION waiting_causes(p_channel text, p_now timestamp with time zone) RETURNS TABLE(recipient text, cause text, members bigint[], messages bigint, budget bigint, worst integer)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- What waits on a channel and was never tried, by recipient and cause: how many messages it makes (a cause that makes too many becomes one) and how many its recipient may get now. Causes that were told too often just now are left out.

FUNCTION waiting_facts(p_state rollup_state, p_limit integer) RETURNS TABLE(kind text, first_at timestamp with time zone, last_at timestamp with time zone, cut bigint)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp, enable_seqscan=off, enable_sort=off, plan_cache_mode=force_generic_plan
    -- From when to when the facts of each kind happened that a state lacks (empty for none; a kind may come twice), as far as a limited number goes; cut: the transaction that the next one is of, when there are more.

FUNCTION watch_facts(p_now timestamp with time zone DEFAULT now()) RETURNS integer
    PLPGSQL VOLATILE SECURITY DEFINER SET search_path=pg_catalog, pg_temp
    -- Rolls up the newest facts and raises what cannot wait: a component in trouble, a critical error, an error rate or a backlog over its limit, a task that does not end. Answers how many alerts it changed. What the service does every schedule.fast_checks_seconds.

FUNCTION who_holds(p_table text, p_now timestamp with time zone) RETURNS text
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- Who keeps the expired days of a table from going at this moment: sessions that have it open, the oldest first, and views of somebody's own. NULL: nobody.

FUNCTION worst_open_alerts(p_alert_types text[]) RETURNS TABLE(source text, severity text, alert_id bigint, alert_type text, summary text)
    PLPGSQL STABLE SET search_path=pg_catalog, pg_temp
    -- The worst open alert of some types for each source.

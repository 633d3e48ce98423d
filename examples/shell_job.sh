#!/bin/sh
# A job in plain shell that reports itself with psql alone: copy it, and put your work into work().
#
#     DATABASE_URL=postgresql://user:password@host:5432/database examples/shell_job.sh docs backup.tgz
#
# What is reported never changes what the job does or answers: when the database is away, a line on stderr says so.
set -eu

source=${1:?which folder to pack}
target=${2:?which file to write}

task_type=backup
task_id="$task_type-$(date -u +%Y%m%dT%H%M%SZ)-$$"
log=$(mktemp)
stopped=

work() {
    tar -czf "$target" "$source"
}

# Values go to psql as variables and stand in the statement as :'name', which quotes them: whatever is in a message, it
# stays a message. psql fills variables in where it reads statements from its input, not in those of its option -c.
report() {
    timeout 5 psql "$DATABASE_URL" --no-psqlrc --quiet --output=/dev/null --single-transaction --file=- \
        --set=ON_ERROR_STOP=1 --set=task_id="$task_id" --set=task_type="$task_type" "$@" ||
        echo "$0: not reported" >&2
}

end() {
    code=$?
    trap '' HUP INT TERM
    cat "$log" >&2
    if [ -n "$stopped" ]; then
        report --set=message="stopped by $stopped" <<'SQL'
SELECT complete_task_tracking(:'task_id', 'cancelled', p_error_message => :'message');
SQL
    elif [ "$code" -eq 0 ]; then
        report --set=size="$(wc -c <"$target")" <<'SQL'
SELECT complete_task_tracking(:'task_id', 'completed', :'size'::bigint);
SQL
    else
        # The last line that the work wrote to stderr, without what is no UTF-8.
        report --set=message="exit code $code: $(tail -n 1 "$log" | iconv -c -f UTF-8 -t UTF-8)" <<'SQL'
SELECT record_error(:'task_id', 'exit_code', 'high', :'message', :'task_type');
SELECT complete_task_tracking(:'task_id', 'failed', p_error_message => :'message');
SQL
    fi
    rm -f "$log"
}

trap end EXIT
trap 'stopped=SIGHUP; exit 129' HUP
trap 'stopped=SIGINT; exit 130' INT
trap 'stopped=SIGTERM; exit 143' TERM

report --set=worker="$(hostname)" <<'SQL'
SELECT start_task_tracking(:'task_id', :'task_type', NULL, :'worker');
SQL

work 2>"$log"

-- What workers report every few seconds, for the routes of operations: an API has no client of the broker.

-- The end of each partition's log, as a worker saw it last.
CREATE TABLE log_end (
    cluster_id  text        NOT NULL,
    topic       text        NOT NULL,
    partition   int         NOT NULL,
    end_offset  bigint      NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (cluster_id, topic, partition)
) WITH (fillfactor = 50);

-- The last run of each scheduled job, on any worker; `error` is what made it fail.
CREATE TABLE job_run (
    job         text        PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    seconds     float8      NOT NULL,
    error       text
) WITH (fillfactor = 50);

-- Runs over all customers: simulations of a draft of the tier program, and the application of a published version.

-- A part of a run: the customers with an id above after_id, up to until_id (null: without an end). Whoever works on it
-- locks its row and writes the outcome in the same transaction as its effects; until then outcome is null. So a part is
-- done exactly once, whoever is killed.
CREATE TABLE slice (
    run_id   uuid NOT NULL,
    number   int  NOT NULL,
    after_id text NOT NULL,
    until_id text,
    outcome  json,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX slice_open ON slice (run_id, number) WHERE outcome IS NULL;

-- A draft judged as if it were published at an instant. It is of one revision of the draft: if that changes, it is void.
-- base is the version that was published last when it began: another one makes a running simulation void too.
-- result is the sum of its slices; failure says in words why there is none.
CREATE TABLE simulation (
    id          uuid PRIMARY KEY,
    version     int         NOT NULL,
    revision    int         NOT NULL,
    base        int         NOT NULL,
    at          timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  text        NOT NULL,
    state       text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    finished_at timestamptz,
    result      json,
    failure     text,
    CONSTRAINT simulation_result CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT simulation_failure CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT simulation_finished CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX simulation_running ON simulation (created_at, id) WHERE state = 'running';
CREATE INDEX simulation_version ON simulation (version, revision);
CREATE INDEX simulation_age ON simulation (created_at);

-- The customers of a slice who go from a tier to a tier (the same: who stay), in the order of their ids, and for each of
-- them why. Kept together, they cost a fraction of a row for each.
CREATE TABLE simulation_customers (
    simulation_id uuid   NOT NULL,
    slice         int    NOT NULL,
    from_tier     text   NOT NULL,
    to_tier       text   NOT NULL,
    customer_ids  text[] NOT NULL,
    whys          text[] NOT NULL,
    PRIMARY KEY (simulation_id, slice, from_tier, to_tier)
);

-- Replays: what the signals of a draft would have done about the sign-ups of the last days.

-- A part of a replay: the sign-ups after one, up to another, by time and number (null: without an end). Whoever works on
-- it locks its row and writes the outcome; until then outcome is null. See shared/postgres/slices.py.
CREATE TABLE slice (
    run_id   uuid NOT NULL,
    number   int  NOT NULL,
    after_id text NOT NULL,
    until_id text,
    outcome  json,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX slice_open ON slice (run_id, number) WHERE outcome IS NULL;

-- It is of one revision of the draft: if that changes, it is void. Sign-ups from since to created_at are judged. result
-- is the sum of its slices; failure says in words why there is none.
CREATE TABLE replay (
    id          uuid PRIMARY KEY,
    version     int         NOT NULL,
    revision    int         NOT NULL,
    days        int         NOT NULL,
    since       timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  text        NOT NULL,
    state       text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    finished_at timestamptz,
    result      json,
    failure     text,
    CONSTRAINT replay_result CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT replay_failure CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT replay_finished CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX replay_running ON replay (created_at, id) WHERE state = 'running';
CREATE INDEX replay_age ON replay (created_at);

-- The sign-ups of some days, in an order.
CREATE INDEX referral_signed_up_at ON referral (signed_up_at, number);

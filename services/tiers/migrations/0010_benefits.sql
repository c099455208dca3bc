-- squawk-ignore-file ban-drop-not-null
-- Uses of benefits, warnings of tiers at risk, and what the summary and `verify` read.

-- Each use of a benefit, with the tier and the version by which the customer was entitled to it. uses_left is what was
-- left afterwards, null for a benefit that can be used any number of times.
CREATE TABLE benefit_use (
    customer_id     text        NOT NULL,
    benefit         text        NOT NULL,
    reference       text        NOT NULL,
    used_at         timestamptz NOT NULL,
    uses_left       int         CHECK (uses_left >= 0),
    tier            text        NOT NULL,
    program_version int         NOT NULL,
    principal       text        NOT NULL,
    PRIMARY KEY (customer_id, benefit, reference)
);
CREATE INDEX benefit_use_time ON benefit_use (customer_id, benefit, used_at);

-- warn_at: the next moment at which a warning that the tier is at risk may be due; due_at is never later.
ALTER TABLE customer ADD COLUMN warn_at timestamptz;

-- A row for each moment that was judged; told_at is null where nothing was published: the tier was kept by then, or a
-- nearer moment had come.
ALTER TABLE at_risk ALTER COLUMN told_at DROP NOT NULL;

-- The steps that the change published, as [[effective_at, tier, points_multiplier], …]; null for earlier releases.
ALTER TABLE tier_change ADD COLUMN timeline json;

-- For the summary.
CREATE INDEX customer_tier ON customer (tier);
CREATE INDEX tier_change_recorded ON tier_change (recorded_at, kind);

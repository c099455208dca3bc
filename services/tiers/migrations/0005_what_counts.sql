-- squawk-ignore-file ban-drop-constraint
-- All that counts towards tiers, by the instants at which it was earned and taken back, and the state of judging.

-- Reviews, approved referrals, activities and transactions of points, each once. `kind` and `key` are its natural key
-- within the customer. `earned_at` is the time of its event, `amount` what it counts (of a reversal: what it asks for).
-- Of an activity `name` is which one; `about` is what a transaction of points names as its reason. `taken_at` is the
-- time of the event that took a review or a referral back. `digest` tells a plain repeat from one with other content.
CREATE TABLE counted (
    customer_id text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('review', 'referral', 'activity', 'points', 'reversal')),
    key         text        NOT NULL,
    earned_at   timestamptz NOT NULL,
    amount      numeric     NOT NULL CHECK (amount > 0),
    name        text        NOT NULL DEFAULT '',
    about       text,
    taken_at    timestamptz,
    digest      bigint      NOT NULL,
    PRIMARY KEY (customer_id, kind, key)
);
-- An index that begins with the columns of a primary key looks as good to the planner where the average customer has
-- few rows; then it reads all that the largest one has. So these are on expressions. Ids hold no slash.
CREATE INDEX counted_earned ON counted ((customer_id || ''), earned_at) INCLUDE (customer_id, kind, name, amount)
    WHERE kind <> 'reversal';
CREATE INDEX counted_about ON counted ((customer_id || '/' || about)) WHERE about IS NOT NULL;

-- The state of reasons for which points were moved more than once (rules/reversing.py).
CREATE TABLE reversing (
    customer_id text NOT NULL,
    about       text NOT NULL,
    state       json NOT NULL,
    PRIMARY KEY (customer_id, about)
);

-- Everything that was taken back: what counts less from `at` on, of what was earned at `earned_at`. `amount` / `divisor`
-- is exact, below 0; above 0 where a late refund gives back some of what others took. `name` is the currency of `spend`.
-- `about` is the order, review, referral or reason, as `kind/id`.
CREATE TABLE taken (
    customer_id text        NOT NULL,
    earned_at   timestamptz NOT NULL,
    at          timestamptz NOT NULL,
    metric      text        NOT NULL CHECK (metric IN ('spend', 'orders', 'points', 'reviews', 'referrals')),
    name        text        NOT NULL,
    amount      numeric     NOT NULL CHECK (amount <> 0),
    divisor     numeric     NOT NULL CHECK (divisor >= 1),
    about       text        NOT NULL
);
-- One is on an expression, so that each statement takes the index whose order it asks for.
CREATE INDEX taken_earned ON taken ((customer_id || ''), earned_at, at)
    INCLUDE (customer_id, metric, name, amount, divisor);
CREATE INDEX taken_at ON taken (customer_id, at);

-- gone_at: the instant from which nothing of an order's money is kept; null while some is, and for free orders.
ALTER TABLE purchase ADD COLUMN gone_at timestamptz;
CREATE INDEX purchase_earned ON purchase ((customer_id || ''), purchased_at) INCLUDE (customer_id, currency, total);

-- state: the customer after everything that was judged (rules/judging/state.py), null while nothing was; tier to
-- program_version are parts of it. due_at: when something falls due next. rejudge_from: the earliest instant at which
-- something is recorded that was not judged yet. carried: false while `taken` lacks what refunds took before this
-- migration.
ALTER TABLE customer
    ADD COLUMN state json,
    ADD COLUMN valid_until timestamptz,
    ADD COLUMN grace_until timestamptz,
    ADD COLUMN program_version int,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN rejudge_from timestamptz,
    ADD COLUMN carried boolean NOT NULL DEFAULT false;
ALTER TABLE customer ALTER COLUMN carried SET DEFAULT true;
UPDATE customer SET rejudge_from = '0001-01-01 00:00:00+00';
CREATE INDEX customer_due ON customer (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX customer_rejudge ON customer (rejudge_from) WHERE rejudge_from IS NOT NULL;

-- Every instant at which a customer's state changed, with the state from then on. kind and reason are those of what
-- was or would be published; kind is null where customers see no change.
ALTER TABLE timeline
    ADD COLUMN points_multiplier text,
    ADD COLUMN valid_until timestamptz,
    ADD COLUMN program_version int,
    ADD COLUMN kind text,
    ADD COLUMN reason text,
    ADD COLUMN from_tier text,
    ADD COLUMN state json;
UPDATE timeline
SET points_multiplier = (
    SELECT listed ->> 'points_multiplier'
    FROM document_version AS program, json_array_elements(document -> 'tiers') AS listed
    WHERE program.kind = 'tier_program' AND program.effective_at <= timeline.effective_at
      AND listed ->> 'id' = timeline.tier
    ORDER BY program.effective_at DESC
    LIMIT 1
);

-- metrics: the values by which it was judged, as decimal strings. published_id and correlation_id are those of the
-- event that published it, which is the cause of what it lets fall due. actor and note are of what was done by hand.
ALTER TABLE tier_change
    DROP CONSTRAINT tier_change_moves,
    ADD COLUMN valid_until timestamptz,
    ADD COLUMN metrics json,
    ADD COLUMN published_id text,
    ADD COLUMN correlation_id text,
    ADD COLUMN actor text,
    ADD COLUMN note text;

-- Tiers given by hand. until: when the tier ends; null: as if it was reached then. locked: nothing else moves it before.
CREATE TABLE assignment (
    id          uuid        PRIMARY KEY,
    customer_id text        NOT NULL,
    at          timestamptz NOT NULL,
    tier        text        NOT NULL,
    until       timestamptz,
    locked      boolean     NOT NULL,
    actor       text        NOT NULL,
    note        text, -- null once its customer is erased
    CONSTRAINT assignment_until CHECK (until > at),
    CONSTRAINT assignment_locked CHECK (until IS NOT NULL OR NOT locked)
);
CREATE INDEX assignment_customer ON assignment (customer_id, at);

-- The warnings of tiers at risk that were published: `days` before `valid_until`, once each.
CREATE TABLE at_risk (
    customer_id text        NOT NULL,
    valid_until timestamptz NOT NULL,
    days        int         NOT NULL CHECK (days > 0),
    told_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, valid_until, days)
);

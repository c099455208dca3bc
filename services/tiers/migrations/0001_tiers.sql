-- Which customer is in which tier, since when, and why.

-- The versions of the tier program; a published one never changes. The document:
-- {"currency": "USD", "tiers": [{"id", "points_multiplier", "needs": [{"metric", "at_least"}]}]},
-- the lowest tier first.
CREATE TABLE tier_program (
    version      int  PRIMARY KEY CHECK (version > 0),
    state        text NOT NULL CHECK (state IN ('draft', 'published')),
    effective_at timestamptz,
    document     json NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    CONSTRAINT tier_program_published
        CHECK (state = 'draft' OR (effective_at IS NOT NULL AND published_at IS NOT NULL))
);

-- Version 1 is in force since ever.
INSERT INTO tier_program (version, state, effective_at, published_at, document)
VALUES (1, 'published', '0001-01-01 00:00:00+00', now(), '{
    "currency": "USD",
    "tiers": [
        {"id": "member", "points_multiplier": "1", "needs": []},
        {"id": "silver", "points_multiplier": "1.25", "needs": [{"metric": "spend", "at_least": "500.00"}]},
        {"id": "gold", "points_multiplier": "1.5", "needs": [{"metric": "spend", "at_least": "1500.00"}]}
    ]
}');

-- A row per customer: what is locked while events of theirs are applied, and where their judging stands.
-- judged_at is the latest instant that anything happened at, purchased_at the latest purchase's.
-- spend / spend_divisor is what was spent, exactly, in the window that ends with the day of judged_at;
-- the divisor is 1 unless refunds by share left thirds of a cent.
-- tier and since are the last entry of the customer's timeline, null while it has none.
CREATE TABLE customer (
    customer_id   text PRIMARY KEY,
    judged_at     timestamptz,
    purchased_at  timestamptz,
    spend         numeric NOT NULL DEFAULT 0 CHECK (spend >= 0),
    spend_divisor numeric NOT NULL DEFAULT 1 CHECK (spend_divisor >= 1),
    tier          text,
    since         timestamptz,
    CONSTRAINT customer_judged CHECK ((judged_at IS NULL) = (purchased_at IS NULL) AND purchased_at <= judged_at),
    CONSTRAINT customer_tier CHECK ((tier IS NULL) = (since IS NULL))
) WITH (fillfactor = 50);

-- Which tier a customer was in from when on, as far as is known now. Before the first entry: the
-- program's first tier.
CREATE TABLE timeline (
    customer_id  text NOT NULL,
    effective_at timestamptz NOT NULL,
    tier         text NOT NULL,
    PRIMARY KEY (customer_id, effective_at)
);

-- Every change of a tier or of its past, as it was recorded. Rows are only added.
-- kind is the verb of the event that told it; event_id and event_source name the event that caused it.
CREATE TABLE tier_change (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('promoted', 'demoted', 'retained', 'corrected')),
    from_tier       text NOT NULL,
    to_tier         text NOT NULL,
    reason          text NOT NULL,
    program_version int  NOT NULL,
    effective_at    timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    event_source    text NOT NULL,
    event_id        text NOT NULL,
    CONSTRAINT tier_change_moves CHECK ((kind IN ('promoted', 'demoted')) = (from_tier <> to_tier))
);
CREATE INDEX tier_change_customer ON tier_change (customer_id, id);

-- Every order of every customer, reduced to what tiers depend on (lines as [[line_id, amount], …],
-- null when it has none). kept / kept_divisor is what all known refunds left of it, exactly.
CREATE TABLE purchase (
    customer_id  text NOT NULL,
    order_id     text NOT NULL,
    source       text NOT NULL,
    purchased_at timestamptz NOT NULL,
    currency     text NOT NULL,
    total        numeric NOT NULL CHECK (total >= 0),
    lines        json,
    kept         numeric NOT NULL CHECK (kept >= 0),
    kept_divisor numeric NOT NULL DEFAULT 1 CHECK (kept_divisor >= 1),
    PRIMARY KEY (customer_id, order_id),
    CONSTRAINT purchase_kept CHECK (kept <= total * kept_divisor)
);
CREATE INDEX purchase_time ON purchase (customer_id, purchased_at);

-- The refunds of those orders, each of which fits its order.
CREATE TABLE refund (
    customer_id text NOT NULL,
    order_id    text NOT NULL,
    refund_id   text NOT NULL,
    refunded_at timestamptz NOT NULL,
    amount      numeric NOT NULL CHECK (amount >= 0),
    lines       json,
    PRIMARY KEY (customer_id, order_id, refund_id)
);

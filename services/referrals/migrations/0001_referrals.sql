-- Who brought whom. No personal data: of a friend only the customer id is kept.

-- The versions of the referral program; a published one never changes.
CREATE TABLE referral_program (
    version      int  PRIMARY KEY CHECK (version > 0),
    state        text NOT NULL CHECK (state IN ('draft', 'published')),
    effective_at timestamptz,
    document     json NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    CONSTRAINT referral_program_published
        CHECK (state = 'draft' OR (effective_at IS NOT NULL AND published_at IS NOT NULL))
);

-- Version 1 is in force since ever.
INSERT INTO referral_program (version, state, effective_at, published_at, document)
VALUES (1, 'published', '0001-01-01 00:00:00+00', now(),
        '{"currency": "USD", "minimum": "20.00", "within_hours": 720, "advocate_points": 500, "friend_points": 200}');

-- A customer's code; it never changes and is never given to anybody else.
CREATE TABLE referral_code (
    customer_id text PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL
);

-- Visits of /r/CODE per UTC day. A count is the sum over its shards: no code makes a hot row.
CREATE TABLE referral_click (
    code   text     NOT NULL,
    day    date     NOT NULL,
    shard  smallint NOT NULL,
    clicks bigint   NOT NULL CHECK (clicks > 0),
    PRIMARY KEY (code, day, shard)
) WITH (fillfactor = 50);

-- Every sign-up that named a known code, also the rejected ones. referral_id derives from the
-- sign-up event, so that the same sign-up is never recorded twice; number orders lists.
CREATE TABLE referral (
    referral_id     uuid   PRIMARY KEY,
    number          bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    advocate_id     text   NOT NULL,
    friend_id       text   NOT NULL,
    code            text   NOT NULL,
    program_version int    NOT NULL,
    state           text   NOT NULL
        CHECK (state IN ('signed_up', 'qualified', 'flagged', 'approved', 'rejected', 'voided')),
    reason          text,
    signed_up_at    timestamptz NOT NULL,
    order_id        text,
    qualified_at    timestamptz,
    approved_at     timestamptz,
    closed_at       timestamptz,
    advocate_points int CHECK (advocate_points >= 0),
    friend_points   int CHECK (friend_points >= 0),
    recorded_at     timestamptz NOT NULL,
    CONSTRAINT referral_self
        CHECK (state = 'rejected' OR advocate_id <> friend_id),
    CONSTRAINT referral_closed
        CHECK ((state IN ('rejected', 'voided')) = (closed_at IS NOT NULL)
               AND (closed_at IS NULL) = (reason IS NULL)),
    CONSTRAINT referral_qualified
        CHECK ((order_id IS NULL) = (qualified_at IS NULL)
               AND (state IN ('signed_up', 'rejected') OR qualified_at IS NOT NULL)),
    CONSTRAINT referral_approved
        CHECK ((approved_at IS NULL) = (advocate_points IS NULL)
               AND (approved_at IS NULL) = (friend_points IS NULL)
               AND (state <> 'approved' OR approved_at IS NOT NULL))
);
-- A friend is brought once; what was rejected does not count as being brought.
CREATE UNIQUE INDEX referral_standing ON referral (friend_id) WHERE state <> 'rejected';
CREATE INDEX referral_friend ON referral (friend_id);
CREATE UNIQUE INDEX referral_advocate ON referral (advocate_id, number);

-- Every order of every customer: whoever bought may sign up later. Reduced to what can still
-- matter (lines: {line_id: amount}, null when it has none).
CREATE TABLE purchase (
    customer_id  text NOT NULL,
    order_id     text NOT NULL,
    source       text NOT NULL,
    purchased_at timestamptz NOT NULL,
    currency     text NOT NULL,
    total        numeric NOT NULL CHECK (total >= 0),
    lines        json,
    PRIMARY KEY (customer_id, order_id)
);

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

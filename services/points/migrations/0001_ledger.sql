-- The ledger. Points are whole numbers. Integrity is by construction (all writes of a customer happen
-- under the lock of its account row), by constraints within a row, and by `verify`; foreign keys between
-- hot tables would nearly halve the rate of writes.

-- A customer's balances, kept; `sequence` is the number of its last transaction, without gaps.
CREATE TABLE account (
    customer_id text   PRIMARY KEY,
    available   bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    pending     bigint NOT NULL DEFAULT 0 CHECK (pending >= 0),
    held        bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    debt        bigint NOT NULL DEFAULT 0 CHECK (debt >= 0),
    earned      bigint NOT NULL DEFAULT 0, -- over the lifetime, less what was taken back
    redeemed    bigint NOT NULL DEFAULT 0, -- over the lifetime, less what was cancelled
    sequence    bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    orders      bigint NOT NULL DEFAULT 0 CHECK (orders >= 0), -- completed orders: the ordinal of the last
    recorded_at timestamptz NOT NULL DEFAULT '0001-01-01T00:00:00Z', -- of the last transaction: it never runs back
    CONSTRAINT debt_is_paid_first CHECK (debt = 0 OR available = 0)
) WITH (fillfactor = 40);

-- The program's side of every posting, by kind, spread over shards so that no row is hot.
CREATE TABLE program_account (
    kind    text     NOT NULL CHECK (kind IN ('issued', 'reversed', 'redeemed', 'expired', 'adjusted')),
    shard   smallint NOT NULL,
    balance bigint   NOT NULL,
    PRIMARY KEY (kind, shard)
) WITH (fillfactor = 40);

-- What happened to a customer's points. The balances are those after it, so any balance of the past is one row.
CREATE TABLE transaction (
    id              uuid   PRIMARY KEY, -- UUIDv7
    customer_id     text   NOT NULL,
    sequence        bigint NOT NULL CHECK (sequence > 0),
    kind            text   NOT NULL CHECK (kind IN ('earned', 'activated', 'reversed', 'redeemed', 'restored',
                                                    'held', 'released', 'expired', 'adjusted')),
    points          bigint NOT NULL,    -- signed: what the customer gained
    available_after bigint NOT NULL CHECK (available_after >= 0),
    pending_after   bigint NOT NULL CHECK (pending_after >= 0),
    held_after      bigint NOT NULL CHECK (held_after >= 0),
    debt_after      bigint NOT NULL CHECK (debt_after >= 0),
    earned_after    bigint NOT NULL,
    redeemed_after  bigint NOT NULL,
    occurred_at     timestamptz NOT NULL, -- the business time
    recorded_at     timestamptz NOT NULL,
    reason          json   NOT NULL,      -- as published: the kind, and the ids of what it is about
    activates_at    timestamptz,
    expires_at      timestamptz,
    rules_version   int,
    inputs          json   NOT NULL,      -- what the receipt is rebuilt from, beside the order or review itself
    receipt_digest  bytea  NOT NULL,
    UNIQUE (customer_id, sequence)
);

-- Double entry in one row: `points` go from one account to another, so all accounts add up to 0.
CREATE TABLE posting (
    transaction_id uuid     NOT NULL,
    number         smallint NOT NULL,
    source         text     NOT NULL,
    target         text     NOT NULL CHECK (target <> source),
    points         bigint   NOT NULL CHECK (points > 0),
    lot_id         uuid,
    PRIMARY KEY (transaction_id, number)
);

-- Points that came together, by one rule for one thing: what is left of them, and where the rest went.
CREATE TABLE lot (
    id             uuid   PRIMARY KEY, -- UUIDv7
    customer_id    text   NOT NULL,
    transaction_id uuid   NOT NULL,
    origin         text   NOT NULL,    -- `kind/id`: order/4711, review/9, referral/…
    rule           text   NOT NULL,
    granted        bigint NOT NULL CHECK (granted > 0),
    remaining      bigint NOT NULL CHECK (remaining >= 0),
    held           bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent          bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    reversed       bigint NOT NULL DEFAULT 0 CHECK (reversed >= 0), -- taken back, or paid a debt
    expired        bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
    pending        boolean NOT NULL,
    occurred_at    timestamptz NOT NULL,
    activates_at   timestamptz,
    expires_at     timestamptz,
    CONSTRAINT lot_conserves CHECK (granted = remaining + held + spent + reversed + expired)
) WITH (fillfactor = 80);
CREATE INDEX lot_origin ON lot (customer_id, origin);
CREATE INDEX lot_due_to_expire ON lot (expires_at) WHERE remaining > 0 AND expires_at IS NOT NULL;
CREATE INDEX lot_due_to_activate ON lot (activates_at) WHERE pending;

-- What is known of an order, and what was given for it.
CREATE TABLE purchase (
    customer_id     text   NOT NULL,
    order_id        text   NOT NULL,
    source          text   NOT NULL,
    occurred_at     timestamptz NOT NULL,
    ordinal         bigint NOT NULL, -- the nth order of the customer, as first judged
    rules_version   int    NOT NULL, -- in force at its time: refunds are judged by it
    body            json   NOT NULL, -- the order as bought
    given           json   NOT NULL, -- points by rule; the difference to what is due is what settling posts
    multiplier      text   NOT NULL, -- the tier's, that `given` follows
    transaction_ids uuid[] NOT NULL,
    PRIMARY KEY (customer_id, order_id)
) WITH (fillfactor = 90);

CREATE TABLE refund (
    customer_id text NOT NULL,
    order_id    text NOT NULL,
    refund_id   text NOT NULL,
    occurred_at timestamptz NOT NULL,
    currency    text NOT NULL,
    amount      text NOT NULL,
    lines       json NOT NULL,
    PRIMARY KEY (customer_id, order_id, refund_id)
);

CREATE TABLE review (
    customer_id   text    NOT NULL,
    review_id     text    NOT NULL,
    sku           text    NOT NULL,
    occurred_at   timestamptz NOT NULL,
    verified      boolean NOT NULL,
    rules_version int     NOT NULL,
    awarded       bigint  NOT NULL CHECK (awarded >= 0), -- as first judged
    withdrawn     boolean NOT NULL,
    PRIMARY KEY (customer_id, review_id)
);
CREATE INDEX review_sku ON review (customer_id, sku);

-- What a referral gave to one of its two sides.
CREATE TABLE referral_payment (
    customer_id text    NOT NULL,
    referral_id text    NOT NULL,
    points      bigint  NOT NULL CHECK (points >= 0),
    voided      boolean NOT NULL,
    PRIMARY KEY (customer_id, referral_id)
);

-- Each customer's tiers as last told: from `effective_at` on, orders earn at the multiplier.
CREATE TABLE tier_entry (
    customer_id  text NOT NULL,
    effective_at timestamptz NOT NULL,
    tier         text NOT NULL,
    multiplier   text NOT NULL,
    PRIMARY KEY (customer_id, effective_at)
);

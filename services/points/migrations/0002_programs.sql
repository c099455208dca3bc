-- Earning rules as versioned documents, points that wait and expire, limits, redemptions, holds and rewards.

-- A version is a draft until it is published; from then on it never changes. In force at an instant is, of the
-- versions effective by then, the one that came into force last.
CREATE TABLE earning_rules (
    version      int    PRIMARY KEY,
    document     json   NOT NULL,
    revision     int    NOT NULL DEFAULT 1, -- how often the draft was written
    created_at   timestamptz NOT NULL,
    published_at timestamptz,
    effective_at timestamptz,
    CONSTRAINT published_is_effective CHECK ((published_at IS NULL) = (effective_at IS NULL))
);
CREATE INDEX earning_rules_in_force ON earning_rules (effective_at, version) WHERE effective_at IS NOT NULL;

-- Version 1, in force since ever: paid at once, never expiring.
INSERT INTO earning_rules (version, document, created_at, published_at, effective_at) VALUES (1, '{
  "currency": "USD",
  "rates": {},
  "time_zone": "UTC",
  "week_start": "mon",
  "tiers": ["member", "silver", "gold"],
  "rules": [
    {
      "id": "base",
      "name": {"en": "Every purchase", "ar": "كل عملية شراء"},
      "on": "purchase",
      "when": [],
      "award": {"kind": "per_amount", "points": 1, "amount": "1.00"},
      "exclusive_group": null,
      "limits": [],
      "activate": {"kind": "now"},
      "expire": {"kind": "never"}
    },
    {
      "id": "review",
      "name": {"en": "A review of a purchase", "ar": "تقييم عملية شراء"},
      "on": "review",
      "when": [{"kind": "verified_purchase"}],
      "award": {"kind": "fixed", "points": 50},
      "exclusive_group": null,
      "limits": [{"count": 1, "points": null, "per": "ever", "scope": "customer_sku"}],
      "activate": {"kind": "now"},
      "expire": {"kind": "never"}
    }
  ]
}', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00Z');

-- No later than the first instant at which something falls due for the customer: a hold, an activation, an expiry.
ALTER TABLE account ADD COLUMN due_at timestamptz;
CREATE INDEX account_due ON account (due_at) WHERE due_at IS NOT NULL;

-- Points that wait for a delivery are given up at `cancels_at`.
ALTER TABLE lot ADD COLUMN cancels_at timestamptz;
CREATE INDEX lot_open ON lot (customer_id, expires_at) WHERE remaining > 0 OR held > 0;
CREATE INDEX lot_waiting ON lot (customer_id) WHERE pending AND remaining = 0;
-- What falls due is found by the account now. Migrations run in one transaction, which CONCURRENTLY cannot.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX lot_due_to_activate;
UPDATE lot SET rule = 'tier:extra' WHERE rule = 'tier';
UPDATE lot SET rule = 'referral:carried' WHERE rule = 'referral';

ALTER TABLE purchase
    ADD COLUMN tier text,                        -- the tier that `given` follows; null before the first promotion
    ADD COLUMN found json NOT NULL DEFAULT '{}', -- what limits left at first, by rule: [points, index of the limit]
    ADD COLUMN delivered_at timestamptz;
UPDATE purchase SET given = replace(given::text, '"tier":', '"tier:extra":')::json WHERE given::text LIKE '%"tier":%';

-- What else earned points: `origin` is `kind/id`, unique within the customer for ever.
CREATE TABLE accrual (
    customer_id   text NOT NULL,
    origin        text NOT NULL,
    event         text NOT NULL,         -- what the rules are on: review, activity, birthday …
    occurred_at   timestamptz NOT NULL,
    rules_version int  NOT NULL,         -- in force at its time
    facts         json NOT NULL,         -- what conditions look at
    given         json NOT NULL,         -- points by rule, less what was taken back
    tier          text,                  -- the tier that `given` follows
    found         json NOT NULL,         -- what limits left at first, by rule: [points, index of the limit]
    withdrawn     boolean NOT NULL,
    PRIMARY KEY (customer_id, origin)
);

-- How much of a rule's limit is used: of a customer, or (owner '') of all together.
CREATE TABLE limit_use (
    owner  text   NOT NULL,
    rule   text   NOT NULL,
    span   text   NOT NULL, -- scope/period, and the sku where the scope has one
    count  bigint NOT NULL CHECK (count >= 0),
    points bigint NOT NULL CHECK (points >= 0),
    PRIMARY KEY (owner, rule, span)
) WITH (fillfactor = 70);

-- Reviews are accruals now.
INSERT INTO accrual (customer_id, origin, event, occurred_at, rules_version, facts, given, found, withdrawn)
SELECT customer_id, 'review/' || review_id, 'review', occurred_at, rules_version,
       json_build_object('sku', sku, 'verified', verified),
       CASE WHEN awarded > 0 AND NOT withdrawn THEN json_build_object('review', awarded) ELSE '{}'::json END,
       CASE WHEN awarded > 0 THEN json_build_object('review', json_build_array(awarded, null))
            WHEN verified THEN json_build_object('review', json_build_array(0, 0))
            ELSE '{}'::json END,
       withdrawn
FROM review;
INSERT INTO limit_use (owner, rule, span, count, points)
SELECT customer_id, 'review', 'customer_sku/ever/' || sku, count(*), sum(awarded)
FROM review WHERE awarded > 0 AND NOT withdrawn GROUP BY customer_id, sku;
-- All of it stands in `accrual` now, and the old code does not run beside the new one.
-- squawk-ignore ban-drop-table
DROP TABLE review;

-- A customer's date of birth, as told last; null where it was cleared.
CREATE TABLE birth (
    customer_id text PRIMARY KEY,
    born        date,
    told_at     timestamptz NOT NULL
);
CREATE INDEX birth_day ON birth ((extract(month FROM born) * 100 + extract(day FROM born))) WHERE born IS NOT NULL;

-- Up to which day of the program the daily pipeline has done what is done once a day.
CREATE TABLE day_done (
    step text PRIMARY KEY CHECK (step IN ('birthdays', 'expiring')),
    day  date NOT NULL
);

-- Which customers were told, so many days before, what ends at an instant.
CREATE TABLE expiry_notice (
    customer_id text     NOT NULL,
    expires_at  timestamptz NOT NULL,
    days        smallint NOT NULL CHECK (days IN (1, 7, 30)),
    PRIMARY KEY (customer_id, expires_at, days)
);

-- What points can be redeemed for.
CREATE TABLE reward (
    id                 text   PRIMARY KEY,
    name               json   NOT NULL, -- by locale
    points             bigint NOT NULL CHECK (points > 0),
    kind               text   NOT NULL CHECK (kind IN ('discount', 'free_product', 'free_shipping', 'gift',
                                                       'early_access', 'event')),
    stock              bigint CHECK (stock >= 0), -- null: without end
    limit_per_customer bigint CHECK (limit_per_customer > 0),
    minimum_tier       text,
    starts_at          timestamptz,
    ends_at            timestamptz,
    revision           int    NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL,
    CONSTRAINT reward_ends_after_it_starts CHECK (starts_at < ends_at)
) WITH (fillfactor = 70);
CREATE INDEX reward_newest ON reward (created_at, id);

-- Points that were spent: for a reward, by a reference of the shop, or out of a hold.
CREATE TABLE redemption (
    id             uuid   PRIMARY KEY, -- UUIDv7
    customer_id    text   NOT NULL,
    points         bigint NOT NULL CHECK (points > 0),
    reward_id      text,
    quantity       bigint CHECK (quantity > 0),
    reference      text,
    hold_id        uuid,
    transaction_id uuid   NOT NULL,
    created_at     timestamptz NOT NULL,
    cancelled_at   timestamptz,
    CONSTRAINT redemption_reference UNIQUE (customer_id, reference),
    CONSTRAINT rewards_have_a_quantity CHECK ((reward_id IS NULL) = (quantity IS NULL))
);
CREATE INDEX redemption_reward ON redemption (customer_id, reward_id) WHERE reward_id IS NOT NULL;

-- Points that are reserved: of which lots, until when, and what became of them.
CREATE TABLE hold (
    id            uuid   PRIMARY KEY, -- UUIDv7
    customer_id   text   NOT NULL,
    reference     text   NOT NULL,
    points        bigint NOT NULL CHECK (points > 0),
    portions      json   NOT NULL, -- [lot, points] of what is still held
    state         text   NOT NULL CHECK (state IN ('held', 'captured', 'released', 'expired')),
    expires_at    timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    captured      bigint NOT NULL DEFAULT 0 CHECK (captured >= 0 AND captured <= points),
    redemption_id uuid,
    CONSTRAINT hold_reference UNIQUE (customer_id, reference)
);
CREATE INDEX hold_open ON hold (customer_id) WHERE state = 'held';

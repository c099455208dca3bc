-- Spend over time, so that a late event costs the logarithm of its customer's history (rules/curve.py).

-- curve_until: the stored curve holds all movements up to and including this instant; null while there is no curve.
-- loose: the number of movements that are not on the curve. Null for customers from before this migration: their
-- movements are counted, from their orders and refunds, when an event of theirs needs the curve for the first time.
ALTER TABLE customer ADD COLUMN curve_until timestamptz;
ALTER TABLE customer ADD COLUMN loose int;
ALTER TABLE customer ALTER COLUMN loose SET DEFAULT 0;

-- A stretch of time, from microsecond (place << bits) of year 1 to before ((place + 1) << bits). content of a leaf:
-- [[instant, change], …]; of any other stretch, of its 64 parts those in which something changes: [[place, sum, peak], …].
-- Instants and places count from the stretch's beginning. Amounts are in ten-thousandths, as text ("1/3" can be).
CREATE TABLE spend_curve (
    customer_id text     NOT NULL,
    bits        smallint NOT NULL CHECK (bits BETWEEN 0 AND 60),
    place       bigint   NOT NULL CHECK (place >= 0),
    is_leaf     boolean  NOT NULL,
    content     json     NOT NULL,
    PRIMARY KEY (customer_id, bits, place)
) WITH (fillfactor = 70);

-- The loose movements of refunds; those of purchases are the orders themselves. amount / divisor is exact.
CREATE TABLE loose_refund (
    customer_id text        NOT NULL,
    at          timestamptz NOT NULL,
    day         date        NOT NULL,
    amount      numeric     NOT NULL,
    divisor     numeric     NOT NULL CHECK (divisor >= 1)
);
CREATE INDEX loose_refund_customer ON loose_refund (customer_id);

-- folded: the state of all known refunds (rules/refunding.py); null where it follows from them alone.
ALTER TABLE purchase ADD COLUMN folded json;

-- Orders in other currencies are no part of spend: they are not read with those that are.
CREATE INDEX purchase_spend ON purchase (customer_id, currency, purchased_at);
DROP INDEX purchase_time;

-- The last refunds of an order: what they took can be moved back by one that arrives late. An order's key is one
-- expression here (ids hold no slash), so that this index is never taken for finding a refund by its id.
CREATE INDEX refund_place ON refund ((customer_id || '/' || order_id), refunded_at, refund_id COLLATE "C");

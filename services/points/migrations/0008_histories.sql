-- An event costs what it changes, whatever the history of its customer.

-- A transaction can have more than 32,767 postings: redeeming, or expiry, of as many lots. `number` would have to become
-- an int, which rewrites the largest table and its index under a lock; so postings from now on go into a new table,
-- and those from before stay where they are. `every_posting` has all of them.
-- The old code does not run beside the new one.
-- squawk-ignore renaming-table
ALTER TABLE posting RENAME TO posting_before;
-- squawk-ignore renaming-object
ALTER INDEX posting_pkey RENAME TO posting_before_pkey;
CREATE TABLE posting (
    transaction_id uuid   NOT NULL,
    number         int    NOT NULL,
    source         text   NOT NULL,
    target         text   NOT NULL CHECK (target <> source),
    points         bigint NOT NULL CHECK (points > 0),
    lot_id         uuid,
    PRIMARY KEY (transaction_id, number)
);
CREATE VIEW every_posting AS
SELECT transaction_id, number, source, target, points, lot_id FROM posting
UNION ALL
SELECT transaction_id, number::int, source, target, points, lot_id FROM posting_before;

-- The transactions of an order after its first; `purchase.transaction_ids` has the first, and those from before this.
CREATE TABLE order_transaction (
    customer_id    text   NOT NULL,
    order_id       text   NOT NULL,
    sequence       bigint NOT NULL, -- of the transaction within its customer
    transaction_id uuid   NOT NULL,
    PRIMARY KEY (customer_id, order_id, sequence)
);

-- What refunds left of an order (Fold in shared/contracts/kept.py): {} where there are none. Null is an order from
-- before this: what its refunds left is folded when it is needed.
ALTER TABLE purchase ADD COLUMN refunded json;
ALTER TABLE purchase ALTER COLUMN refunded SET DEFAULT '{}';
-- Which orders a timeline decides of that was told anew.
CREATE INDEX purchase_occurred ON purchase (customer_id, occurred_at);
CREATE INDEX accrual_occurred ON accrual (customer_id, occurred_at);

ALTER TABLE refund
    ADD COLUMN number bigint,   -- the nth of its order to arrive; null: before this
    ADD COLUMN checkpoint json; -- what it and all refunds that count before it left; null where there is no checkpoint
CREATE INDEX refund_place ON refund (customer_id, order_id, occurred_at, refund_id COLLATE "C");

-- Lots in the order in which they are spent, and end; and those that become available, or are given up.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX lot_open;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX lot_waiting;
CREATE INDEX lot_spendable ON lot (customer_id, expires_at, occurred_at, id) WHERE remaining > 0 AND NOT pending;
CREATE INDEX lot_pending ON lot (customer_id, coalesce(activates_at, cancels_at))
    WHERE pending AND (remaining > 0 OR activates_at IS NULL);
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX hold_open;
CREATE INDEX hold_open ON hold (customer_id, expires_at) WHERE state = 'held';

-- Customers of whom a timeline that was told anew changes more than one transaction settles: what occurred from
-- `since` on is still judged by the tiers from before.
CREATE TABLE resettling (
    customer_id    text PRIMARY KEY,
    since          timestamptz NOT NULL,
    occurred_at    timestamptz NOT NULL, -- the event's that told the timeline, which its transactions tell of
    correlation_id text NOT NULL,
    causation_id   text NOT NULL
);

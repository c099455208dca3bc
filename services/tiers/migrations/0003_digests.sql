-- digest: 64 bits of a hash of everything that counts in the event (shared/contracts/orders.py), which tell a plain
-- repeat of it from one with other content. Null for rows from before this migration.
ALTER TABLE purchase ADD COLUMN digest bigint;
ALTER TABLE refund ADD COLUMN digest bigint;

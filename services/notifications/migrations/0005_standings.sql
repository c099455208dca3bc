-- What events told of a customer last: the tier, and the points that can be spent or are still pending.
ALTER TABLE customer
    ADD COLUMN IF NOT EXISTS tier text,
    ADD COLUMN IF NOT EXISTS available bigint,
    ADD COLUMN IF NOT EXISTS pending bigint;

-- When a customer registered and was erased, beside the date of birth: after an erasure only a registration begins
-- anew. Whoever's date of birth is known already counts as registered when it was told.
ALTER TABLE birth
    ADD COLUMN registered_at timestamptz,
    ADD COLUMN erased_at     timestamptz;
UPDATE birth SET registered_at = told_at WHERE born IS NOT NULL;

-- The notes of a customer's adjustments, which an erasure removes.
CREATE INDEX transaction_adjusted ON transaction (customer_id) WHERE kind = 'adjusted';

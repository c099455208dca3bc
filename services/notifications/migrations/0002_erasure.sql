-- After an erasure only a registration begins anew, so the newest one is kept. Of those known already nobody can
-- tell a registration from an update: whoever is known counts as registered.
ALTER TABLE customer ADD COLUMN registered_at timestamptz;
UPDATE customer SET registered_at = seen_at WHERE seen_at IS NOT NULL;

-- Whoever was erased before this version: a worker erases what was kept of them so far.
INSERT INTO erasure (customer_id, erased_at, published_at, recorded_at, look_at)
SELECT customer_id, erased_at, now(), now(), now() FROM customer WHERE erased_at IS NOT NULL
ON CONFLICT (customer_id) DO NOTHING;

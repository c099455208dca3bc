-- The customers of a tier: for those of tiers that the earning rules do not list.
CREATE INDEX tier_entry_tier ON tier_entry (tier, customer_id, effective_at);

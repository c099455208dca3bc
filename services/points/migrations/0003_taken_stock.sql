-- A cancellation gives back what its redemption took. What was redeemed before this is taken for having taken stock
-- where its reward has one now.
ALTER TABLE redemption ADD COLUMN took_stock boolean NOT NULL DEFAULT false;
UPDATE redemption SET took_stock = true
FROM reward WHERE reward.id = redemption.reward_id AND reward.stock IS NOT NULL;

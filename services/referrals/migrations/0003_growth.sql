-- What an event costs does not depend on what its customer has.

-- kept: while a referral is approved, the state of what refunds left of its order (shared/contracts/kept.py); null where
-- it follows from the refunds alone.
ALTER TABLE referral ADD COLUMN kept json;

-- Whether somebody referred a friend before: sign-ups with codes of one's own, however many, are passed over.
CREATE INDEX referral_referred ON referral (friend_id) WHERE advocate_id <> friend_id;
DROP INDEX referral_friend;

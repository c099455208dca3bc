-- squawk-ignore-file require-concurrent-index-creation
-- Migrations run in one transaction, which CONCURRENTLY cannot.

-- The review queue: the highest score first, of one state or of all.
CREATE INDEX referral_queue ON referral (state, score, referral_id);
CREATE INDEX referral_score ON referral (score, referral_id);

-- The notes of people, which go with an erasure.
CREATE INDEX referral_step_note ON referral_step (referral_id) WHERE note IS NOT NULL;

-- What was recorded in the last days, and what became of it.
CREATE INDEX referral_recorded ON referral (recorded_at);
CREATE INDEX referral_step_recorded ON referral_step (recorded_at) INCLUDE (state, referral_id);

-- squawk-ignore-file ban-drop-constraint, require-concurrent-index-deletion, require-concurrent-index-creation, constraint-missing-not-valid
-- A message stores its facts and the version of its template instead of its text: an inbox message is rendered when it
-- is read. Messages of before keep their title and body.
ALTER TABLE message
    DROP CONSTRAINT message_rendered,
    DROP CONSTRAINT message_renderable,
    DROP CONSTRAINT message_channel_check,
    ADD COLUMN template text, -- null: of before, the same as the trigger
    ADD COLUMN topic    text NOT NULL DEFAULT 'account',
    ADD COLUMN step     text NOT NULL DEFAULT '0', -- of the journey
    ADD COLUMN unsent   json,                      -- other channels of the step, too late already when it was made: {"email": reason}
    ADD COLUMN sent_at  timestamptz,               -- when it was sent, or is being sent
    ADD COLUMN log      json;                      -- what became of it after it was made: [{"at", "state", "reason"}]
ALTER TABLE message
    ADD CONSTRAINT message_channel CHECK (channel IN ('in_app', 'email', 'sms', 'push')) NOT VALID,
    ADD CONSTRAINT message_content CHECK (facts IS NOT NULL OR (channel = 'in_app' AND title IS NOT NULL AND body IS NOT NULL)) NOT VALID;
ALTER TABLE message VALIDATE CONSTRAINT message_channel;
ALTER TABLE message VALIDATE CONSTRAINT message_content;

UPDATE message SET topic = CASE trigger
    WHEN 'tier_reached' THEN 'tiers' WHEN 'referral_approved' THEN 'referrals' ELSE 'points' END
WHERE trigger <> 'welcome';
-- The templates that shipped with earlier releases are version 1 now.
UPDATE message SET template_version = 1 WHERE due_at IS NOT NULL;
UPDATE message SET sent_at = created_at WHERE state = 'sent';

DROP INDEX message_due;
CREATE INDEX message_due ON message (channel, due_at, number) WHERE due_at IS NOT NULL;
DROP INDEX message_inbox;
CREATE INDEX message_inbox ON message (customer_id, number) WHERE channel = 'in_app' AND state = 'sent';
-- The log: of a customer, of a journey, and of what was not sent.
CREATE INDEX message_log ON message (customer_id, number);
CREATE INDEX message_of_journey ON message (trigger, number);
CREATE INDEX message_unsent ON message (state, reason, number) WHERE state <> 'sent';

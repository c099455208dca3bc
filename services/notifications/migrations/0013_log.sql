-- squawk-ignore-file require-concurrent-index-creation
-- The log of messages: what was not sent, by journey too, and steps of which another channel was too late.
CREATE INDEX message_unsent_of_journey ON message (trigger, state, reason, number) WHERE state <> 'sent';
CREATE INDEX message_with_unsent ON message (number) WHERE unsent IS NOT NULL;

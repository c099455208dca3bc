-- The messages that were sent as a test, by caller: they are limited, so that a leaked key is no open relay.
CREATE TABLE test_send (
    principal text        NOT NULL,
    at        timestamptz NOT NULL
);
CREATE INDEX test_send_recent ON test_send (principal, at);

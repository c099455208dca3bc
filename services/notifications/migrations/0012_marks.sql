-- What became of a message after it was sent: each mark once, when it was first set.
CREATE TABLE message_mark (
    message_id uuid        NOT NULL REFERENCES message ON DELETE CASCADE,
    mark       text        NOT NULL CHECK (mark IN (
        'delivered', 'deferred', 'bounced', 'complained', 'unsubscribed',
        'opened_by_machine', 'opened', 'clicked_by_machine', 'clicked'
    )),
    at         timestamptz NOT NULL,
    PRIMARY KEY (message_id, mark)
);

-- Reports of providers that were handled: one that comes again has no effect.
CREATE TABLE provider_report (
    provider    text        NOT NULL,
    id          text        NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, id)
);

CREATE INDEX provider_report_old ON provider_report (received_at);

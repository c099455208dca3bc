-- What is known of a customer. A row is made when a customer is first heard of, and is what
-- everything about the customer locks. It outlives an erasure without any detail: only the
-- time of it, so that older events cannot bring back what was erased.
CREATE TABLE customer (
    customer_id text PRIMARY KEY,
    details     json NOT NULL DEFAULT '{}',  -- {name: {"value": …, "at": instant}}
    seen_at     timestamptz,                 -- newest registration or update; null: no profile
    erased_at   timestamptz
) WITH (fillfactor = 70);

-- What customers were told, a row per notice and channel. An inbox message is rendered when it
-- is made, a mail when it is sent.
CREATE TABLE message (
    id               uuid   PRIMARY KEY,
    number           bigint GENERATED ALWAYS AS IDENTITY,
    customer_id      text   NOT NULL,
    channel          text   NOT NULL CHECK (channel IN ('in_app', 'email')),
    kind             text   NOT NULL CHECK (kind IN ('transactional', 'marketing')),
    trigger          text   NOT NULL,
    occasion         text   NOT NULL,
    state            text   NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'skipped', 'failed')),
    reason           text,
    locale           text   NOT NULL,
    template_version int    NOT NULL,
    title            text,
    body             text,
    facts            json,
    occurred_at      timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    read_at          timestamptz,
    due_at           timestamptz,
    attempts         int    NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    correlation_id   text   NOT NULL,
    causation_id     text   NOT NULL,
    traceparent      text,
    CONSTRAINT message_once UNIQUE (customer_id, channel, trigger, occasion),
    CONSTRAINT message_rendered CHECK (channel <> 'in_app' OR (title IS NOT NULL AND body IS NOT NULL)),
    CONSTRAINT message_renderable CHECK (channel <> 'email' OR facts IS NOT NULL),
    CONSTRAINT message_inbox_is_there CHECK (channel <> 'in_app' OR state = 'sent'),
    CONSTRAINT message_read_in_app CHECK (read_at IS NULL OR channel = 'in_app'),
    CONSTRAINT message_reason CHECK ((reason IS NOT NULL) = (state IN ('held', 'skipped', 'failed'))),
    -- A worker that takes a mail moves due_at on: should it die, the mail is due again.
    CONSTRAINT message_due_at CHECK ((due_at IS NOT NULL) = (state IN ('held', 'queued')))
) WITH (fillfactor = 85);

CREATE INDEX message_inbox ON message (customer_id, number) WHERE channel = 'in_app';
CREATE INDEX message_due ON message (due_at, number) WHERE due_at IS NOT NULL;

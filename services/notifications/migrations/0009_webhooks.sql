-- Where webhooks are sent. Secrets follow from the id, the generation and a setting: none is stored.
CREATE TABLE webhook_endpoint (
    id              uuid        PRIMARY KEY,
    url             text        NOT NULL,
    types           text[]      NOT NULL, -- of events, or `loyalty.points.*`; empty: all
    description     text,
    enabled         boolean     NOT NULL,
    disabled_reason text        CHECK (disabled_reason IN ('gone', 'failing')), -- null: a person did it
    generation      int         NOT NULL CHECK (generation > 0), -- of its secret
    rotated_at      timestamptz[] NOT NULL, -- when its last secrets were replaced: they still sign for a while
    failing_since   timestamptz, -- the first failure since the last success
    failed_at       timestamptz, -- the last one
    created_at      timestamptz NOT NULL,
    deleted_at      timestamptz, -- its deliveries are deleted in parts, then the row
    CONSTRAINT webhook_endpoint_disabled CHECK (disabled_reason IS NULL OR NOT enabled),
    CONSTRAINT webhook_endpoint_failing CHECK ((failing_since IS NULL) = (failed_at IS NULL))
);

-- A webhook to an endpoint, with the attempts that were made. The id is a UUIDv7: they are listed and forgotten by it.
CREATE TABLE webhook_delivery (
    id          uuid        PRIMARY KEY,
    endpoint_id uuid        NOT NULL,
    webhook_id  text        NOT NULL, -- of the event: the same in every attempt
    customer_id text        NOT NULL,
    type        text        NOT NULL,
    payload     text        NOT NULL, -- the body as it is sent
    occurred_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    state       text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    due_at      timestamptz, -- a worker that takes it moves this on: should it die, the delivery is due again
    attempts    int         NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- how often it was taken
    tries       int         NOT NULL DEFAULT 0 CHECK (tries >= 0), -- the same since it was sent again by hand
    log         jsonb       NOT NULL DEFAULT '[]', -- {"at", "seconds", "status"?, "error"?, "excerpt"?} of each attempt
    CONSTRAINT webhook_delivery_once UNIQUE (endpoint_id, webhook_id),
    CONSTRAINT webhook_delivery_due CHECK ((due_at IS NOT NULL) = (state = 'pending'))
) WITH (fillfactor = 80);
CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_id, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_delivery_list ON webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_customer ON webhook_delivery (customer_id);

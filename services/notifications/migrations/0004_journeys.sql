-- What happened to a customer, by event type: purchases always, other types if a journey names them.
CREATE TABLE happened (
    number      bigint      GENERATED ALWAYS AS IDENTITY,
    customer_id text        NOT NULL,
    type        text        NOT NULL,
    key         text        NOT NULL, -- names the event among those of the customer and the type
    at          timestamptz NOT NULL,
    PRIMARY KEY (customer_id, type, key)
);
CREATE INDEX happened_at ON happened (customer_id, type, at);
CREATE INDEX happened_old ON happened USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

ALTER TABLE customer
    ADD COLUMN IF NOT EXISTS first_purchase_at timestamptz,
    ADD COLUMN purchases int NOT NULL DEFAULT 0 CHECK (purchases >= 0), -- orders as bought
    ADD COLUMN spent bigint NOT NULL DEFAULT 0; -- points that left the balance, less those that came back to it

ALTER TABLE message ADD COLUMN IF NOT EXISTS run_id uuid; -- null: the run was not stored

-- A customer's way through a version of a journey. Runs that end at once and count for no other have no row: their
-- messages are their record. A trigger that joined the digest of another run has a row too, so that it joins once.
CREATE TABLE run (
    id             uuid        PRIMARY KEY,
    customer_id    text        NOT NULL,
    journey        text        NOT NULL,
    version        int         NOT NULL CHECK (version > 0),
    key            text        NOT NULL, -- names the trigger among those of the customer, for ever
    type           text        NOT NULL, -- of the event that started it
    facts          json        NOT NULL,
    fields         json        NOT NULL, -- of the event, which later steps compare
    started_at     timestamptz NOT NULL, -- the time of the trigger
    since          timestamptz NOT NULL, -- events after it happened in the run
    recorded_at    timestamptz NOT NULL,
    state          text        NOT NULL CHECK (state IN ('waiting', 'done', 'stopped', 'joined')),
    reason         text        CHECK (reason IN ('stop_if', 'journey_stopped', 'holdout')),
    step           text        NOT NULL,
    fell_due_at    timestamptz NOT NULL, -- when the step at hand fell due
    due_at         timestamptz, -- when its wait is over
    look_at        timestamptz, -- when a worker looks at it: then, or later if moving it failed
    awaits         text, -- the event type that ends the wait; 'triggers' in a digest
    items          json        NOT NULL,
    count          int         NOT NULL CHECK (count >= 0),
    trace          json        NOT NULL, -- what its steps did
    correlation_id text        NOT NULL,
    causation_id   text        NOT NULL,
    traceparent    text,
    CONSTRAINT run_once UNIQUE (customer_id, journey, key),
    CONSTRAINT run_reason CHECK ((reason IS NOT NULL) = (state = 'stopped')),
    CONSTRAINT run_waits CHECK ((due_at IS NOT NULL) = (state = 'waiting') AND (look_at IS NULL) = (due_at IS NULL)),
    CONSTRAINT run_awaits CHECK (awaits IS NULL OR state = 'waiting')
) WITH (fillfactor = 85);
CREATE INDEX run_due ON run (look_at, customer_id) WHERE look_at IS NOT NULL;
CREATE INDEX run_of_customer_due ON run (customer_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX run_awaits ON run (customer_id, awaits) WHERE awaits IS NOT NULL;
CREATE INDEX run_last ON run (customer_id, journey, started_at);

-- When a date or a stretch of inactivity starts a run; null: nothing to come.
CREATE TABLE timer (
    customer_id    text        NOT NULL,
    journey        text        NOT NULL,
    base           timestamptz, -- the last event, of inactivity
    due_at         timestamptz,
    look_at        timestamptz,
    correlation_id text        NOT NULL,
    causation_id   text        NOT NULL,
    traceparent    text,
    PRIMARY KEY (customer_id, journey),
    CONSTRAINT timer_look CHECK ((look_at IS NULL) = (due_at IS NULL))
) WITH (fillfactor = 85);
CREATE INDEX timer_due ON timer (look_at, customer_id) WHERE look_at IS NOT NULL;

-- How far the timers of a journey were set after a publication: for all customers up to one, or for all.
CREATE TABLE timer_setting (
    journey        text PRIMARY KEY,
    version        int  NOT NULL,
    after_customer text, -- null: done
    CONSTRAINT timer_setting_version CHECK (version > 0)
);

-- What becomes of the runs of older versions when a version takes effect: they go on, move to it, or stop.
CREATE TABLE journey_publication (
    journey text NOT NULL,
    version int  NOT NULL CHECK (version > 0),
    inside  text NOT NULL CHECK (inside IN ('go_on', 'move', 'stop')),
    PRIMARY KEY (journey, version)
);

-- The tables that every service has beside its own.

-- How far each Kafka partition is handled. It moves in the transaction of the effect,
-- by compare-and-set: two workers can never both apply the same records.
CREATE TABLE position (
    cluster_id     text   NOT NULL,
    consumer_group text   NOT NULL,
    topic          text   NOT NULL,
    partition      int    NOT NULL,
    next_offset    bigint NOT NULL CHECK (next_offset >= 0),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, consumer_group, topic, partition)
) WITH (fillfactor = 50);

-- Which events had their effect: a digest of (customer, source, event id), kept for 90 days.
CREATE TABLE inbox (
    digest      uuid PRIMARY KEY,
    received_on date NOT NULL DEFAULT current_date
);
CREATE INDEX inbox_received_on ON inbox USING brin (received_on);

-- What is to be published. The id is drawn under the customer's lock: ids of one customer are in order.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text  NOT NULL,
    key        bytea NOT NULL,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Records that were refused, whole, so that they can be read and replayed.
CREATE TABLE dead_letter (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text   NOT NULL,
    partition     int    NOT NULL,
    "offset"      bigint NOT NULL,
    key           bytea,
    value         bytea,
    header_names  text[]  NOT NULL,
    header_values bytea[] NOT NULL,
    "timestamp"   timestamptz NOT NULL,
    type          text,
    reason        text NOT NULL,
    error         text NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letter_reason ON dead_letter (reason, id);

-- Events that came before what they are about (a refund before its purchase), as they came.
-- about and natural_id are `kind/id`; an id holds no slash.
CREATE TABLE waiting (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id   text   NOT NULL,
    about         text   NOT NULL,
    natural_id    text   NOT NULL,
    topic         text   NOT NULL,
    partition     int    NOT NULL,
    "offset"      bigint NOT NULL,
    key           bytea,
    value         bytea,
    header_names  text[]  NOT NULL,
    header_values bytea[] NOT NULL,
    "timestamp"   timestamptz NOT NULL
);
CREATE INDEX waiting_about ON waiting (customer_id, about);

-- Answers of writes that came with an Idempotency-Key, kept for 7 days.
CREATE TABLE idempotency_key (
    principal   text     NOT NULL,
    key         text     NOT NULL,
    fingerprint bytea    NOT NULL,
    status      smallint NOT NULL,
    body        json     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_key_created_at ON idempotency_key (created_at);

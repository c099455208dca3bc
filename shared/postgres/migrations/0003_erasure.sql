-- The erasure of customers: who was erased, and whose the records and answers are that are kept.

-- Customers who were erased. What happened up to erased_at is erased, also what arrives later.
CREATE TABLE erasure (
    customer_id  text PRIMARY KEY,
    erased_at    timestamptz NOT NULL, -- the time of the newest erasure
    published_at timestamptz NOT NULL, -- the Kafka timestamp of its record: it covers malformed records up to there
    recorded_at  timestamptz NOT NULL, -- when it was handled here
    look_at      timestamptz           -- when a worker looks again for what is left; null: nothing is left
);
CREATE INDEX erasure_look_at ON erasure (look_at) WHERE look_at IS NOT NULL;

-- A dead letter whose customer was erased keeps its place and its reason, without key, value, headers and error.
ALTER TABLE dead_letter
    ADD COLUMN customer_ids text[] NOT NULL DEFAULT '{}', -- the customers that the record names, by key and by data
    ADD COLUMN occurred_at  timestamptz,                  -- the time of the event; null where it cannot be read
    ADD COLUMN erased_at    timestamptz;

-- What no conversion can read names nobody.
CREATE FUNCTION pg_temp.text_of(content bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(content, 'UTF8');
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
CREATE FUNCTION pg_temp.field_of(content text, VARIADIC path text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN content::json #>> path;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
CREATE FUNCTION pg_temp.instant_of(content text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    RETURN content::timestamptz;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;

UPDATE dead_letter
SET customer_ids = array(
        SELECT DISTINCT name
        FROM unnest(ARRAY[
            read.key_text,
            read.subject_text,
            pg_temp.field_of(read.value_text, 'subject'),
            pg_temp.field_of(read.value_text, 'customer_id'),
            pg_temp.field_of(read.value_text, 'data', 'customer_id'),
            pg_temp.field_of(read.value_text, 'data', 'friend_id')
        ]) AS name
        WHERE length(name) BETWEEN 1 AND 128
    ),
    occurred_at = CASE WHEN read.happened_at <= dead_letter."timestamp" + interval '24 hours' THEN read.happened_at END
FROM (
    SELECT id, key_text, value_text, subject_text,
           pg_temp.instant_of(coalesce(pg_temp.field_of(value_text, 'time'), time_text)) AS happened_at
    FROM (
        SELECT id, pg_temp.text_of(key) AS key_text, pg_temp.text_of(value) AS value_text,
               pg_temp.text_of(header_values[array_position(header_names, convert_to('ce_subject', 'UTF8'))]) AS subject_text,
               pg_temp.text_of(header_values[array_position(header_names, convert_to('ce_time', 'UTF8'))]) AS time_text
        FROM dead_letter
    ) AS texts
) AS read
WHERE read.id = dead_letter.id;

CREATE INDEX dead_letter_customer ON dead_letter USING gin (customer_ids);
CREATE INDEX dead_letter_recorded_at ON dead_letter (recorded_at);

-- A waiting record that is reduced holds nothing but the fields of the contract: ids, money and times.
-- For those that wait already, the retention begins now.
ALTER TABLE waiting
    ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN reduced     boolean     NOT NULL DEFAULT false;
CREATE INDEX waiting_recorded_at ON waiting (recorded_at);

-- Whom an answer is about. An erased one has the status 410 and no body; its key still keeps the write from
-- being done twice.
ALTER TABLE idempotency_key ADD COLUMN customer_id text;
UPDATE idempotency_key SET customer_id = body ->> 'customer_id' WHERE json_typeof(body) = 'object';
CREATE INDEX idempotency_key_customer ON idempotency_key (customer_id) WHERE customer_id IS NOT NULL;

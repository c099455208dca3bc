-- Who did what by hand, and why: kept for good, and shown to support.

-- Corrections by hand; rows are added and never changed, but for the words of who was erased.
CREATE TABLE adjustment (
    customer_id    text   NOT NULL,
    transaction_id uuid   NOT NULL, -- UUIDv7
    points         bigint NOT NULL CHECK (points <> 0),
    reason         text,            -- told to the customer; null once the customer was erased
    note           text,            -- for support alone
    principal      text,            -- who adjusted, as `key:ID`; null before this was kept
    made_at        timestamptz NOT NULL,
    PRIMARY KEY (customer_id, transaction_id)
);

-- Until now the note stood in the customer's statement.
INSERT INTO adjustment (customer_id, transaction_id, points, reason, note, principal, made_at)
SELECT customer_id, id, points, coalesce(inputs ->> 'reason', reason ->> 'note'), inputs ->> 'note', NULL, recorded_at
FROM transaction WHERE kind = 'adjusted';
UPDATE transaction
SET reason = json_build_object('kind', 'adjustment', 'note', inputs ->> 'reason'), inputs = '{}'
WHERE kind = 'adjusted' AND inputs ->> 'note' IS NOT NULL;

-- Null: the version that the service came with, or one from before this was kept.
ALTER TABLE earning_rules
    ADD COLUMN created_by text,
    ADD COLUMN changed_by text, -- who wrote the draft last, where that was after it was created
    ADD COLUMN published_by text;

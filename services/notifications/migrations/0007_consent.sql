-- Consents to marketing in force: {channel: {"granted": …, "at": …, "word": …, "word_at": …}}, the projection of the
-- ledger, with the newest word of the shop's events.
ALTER TABLE customer ADD COLUMN consents json NOT NULL DEFAULT '{}';

-- Every consent and withdrawal, in the order of recording; append-only but for erasures.
CREATE TABLE consent (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text        NOT NULL,
    channel     text        NOT NULL CHECK (channel IN ('email', 'sms', 'push')),
    action      text        NOT NULL CHECK (action IN ('granted', 'withdrawn')),
    how         text        NOT NULL CHECK (how IN ('event', 'api', 'one_click', 'page')),
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    actor       text        NOT NULL,
    locale      text
);

CREATE INDEX consent_of_customer ON consent (customer_id, number);

-- What was known so far stood among the details of the profile. A refusal was no withdrawal: it is the shop's word only.
INSERT INTO consent (customer_id, channel, action, how, at, actor)
SELECT customer_id, substr(detail.key, 9), 'granted', 'event', (detail.value ->> 'at')::timestamptz, 'migration'
FROM customer, json_each(details) AS detail
WHERE detail.key LIKE 'consent.%' AND detail.value ->> 'value' = 'true'
ORDER BY (detail.value ->> 'at')::timestamptz, customer_id;

UPDATE customer
SET consents = said.consents, details = said.others
FROM (
    SELECT customer_id,
           json_object_agg(substr(detail.key, 9), json_build_object(
               'granted', detail.value ->> 'value' IS NOT DISTINCT FROM 'true',
               'at', CASE WHEN detail.value ->> 'value' = 'true' THEN detail.value ->> 'at' END,
               'word', detail.value ->> 'value' IS NOT DISTINCT FROM 'true',
               'word_at', detail.value ->> 'at'
           )) FILTER (WHERE detail.key LIKE 'consent.%') AS consents,
           coalesce(json_object_agg(detail.key, detail.value) FILTER (WHERE detail.key NOT LIKE 'consent.%'), '{}')
               AS others
    FROM customer AS known, json_each(known.details) AS detail
    GROUP BY customer_id
) AS said
WHERE customer.customer_id = said.customer_id AND said.consents IS NOT NULL;

-- What a customer wants to get. Without a row, everything has its default.
CREATE TABLE preference (
    customer_id text PRIMARY KEY,
    locale      text,
    time_zone   text,
    quiet_from  time,
    quiet_to    time,
    off         text[]      NOT NULL,  -- channels
    topics_off  text[]      NOT NULL,  -- topics on channels: `offers/email`
    updated_at  timestamptz NOT NULL,
    CONSTRAINT preference_quiet_hours CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);

-- Addresses to which nothing is sent, as keyed hashes; they outlive an erasure, so that nobody writes to them again.
CREATE TABLE suppression (
    hash   bytea       PRIMARY KEY,
    reason text        NOT NULL CHECK (reason IN ('bounced', 'complained')),
    at     timestamptz NOT NULL
);

-- To whom an address belonged when something was sent to it, for what a provider says of the address alone.
CREATE TABLE reached (
    hash        bytea       NOT NULL,
    customer_id text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (hash, customer_id)
);

CREATE INDEX reached_of_customer ON reached (customer_id);

-- Browsers that take pushed messages.
CREATE TABLE push_subscription (
    id          uuid        PRIMARY KEY,
    customer_id text        NOT NULL,
    endpoint    text        NOT NULL UNIQUE,
    p256dh      text        NOT NULL,
    auth        text        NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE INDEX push_subscription_of_customer ON push_subscription (customer_id, created_at);

-- What a customer does not want in the inbox is recorded as skipped.
-- squawk-ignore ban-drop-constraint
ALTER TABLE message DROP CONSTRAINT IF EXISTS message_inbox_is_there;
-- Whatever there is satisfies it.
ALTER TABLE message ADD CONSTRAINT message_inbox_never_waits
    CHECK (channel <> 'in_app' OR state NOT IN ('held', 'queued')) NOT VALID;

UPDATE message SET reason = 'template_error' WHERE reason = 'template_failed';

-- Frequency caps count the marketing messages of the last days.
ALTER TABLE message ADD COLUMN IF NOT EXISTS sent_at timestamptz;
CREATE INDEX message_marketing ON message (customer_id, channel, sent_at)
WHERE kind = 'marketing' AND sent_at IS NOT NULL;

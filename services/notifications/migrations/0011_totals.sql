-- How many messages were made in an hour (UTC) and are in a state now. Triggers write the changes of each statement as
-- rows of their own, so that transactions never wait for each other's totals; a worker adds them up.
CREATE TABLE message_total (
    hour    timestamptz NOT NULL,
    channel text        NOT NULL,
    state   text        NOT NULL,
    reason  text        NOT NULL, -- empty: none
    count   bigint      NOT NULL,
    PRIMARY KEY (hour, channel, state, reason)
);
CREATE TABLE message_change (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hour    timestamptz NOT NULL,
    channel text        NOT NULL,
    state   text        NOT NULL,
    reason  text        NOT NULL,
    count   bigint      NOT NULL
);

-- Channels that were too late already when the message was made have no message of their own, but are skipped.
CREATE FUNCTION total_new_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_change (hour, channel, state, reason, count)
    SELECT date_trunc('hour', created_at, 'UTC'), channel, state, coalesce(reason, ''), count(*)
    FROM new_message
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT date_trunc('hour', created_at, 'UTC'), late.key, 'skipped', late.value, count(*)
    FROM new_message CROSS JOIN json_each_text(unsent) AS late
    WHERE unsent IS NOT NULL
    GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE FUNCTION total_changed_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_change (hour, channel, state, reason, count)
    SELECT date_trunc('hour', created_at, 'UTC'), channel, change.state, coalesce(change.reason, ''), sum(change.count)
    FROM new_message
    JOIN old_message USING (id, created_at, channel)
    CROSS JOIN LATERAL (
        VALUES (old_message.state, old_message.reason, -1), (new_message.state, new_message.reason, 1)
    ) AS change (state, reason, count)
    WHERE (old_message.state, old_message.reason) IS DISTINCT FROM (new_message.state, new_message.reason)
    GROUP BY 1, 2, 3, 4
    HAVING sum(change.count) <> 0;
    RETURN NULL;
END $$;
-- What became of erased messages stays counted; those that waited are no more.
CREATE FUNCTION total_deleted_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_change (hour, channel, state, reason, count)
    SELECT date_trunc('hour', created_at, 'UTC'), channel, state, coalesce(reason, ''), -count(*)
    FROM old_message
    WHERE state IN ('held', 'queued')
    GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE TRIGGER message_total_new AFTER INSERT ON message
    REFERENCING NEW TABLE AS new_message FOR EACH STATEMENT EXECUTE FUNCTION total_new_messages();
CREATE TRIGGER message_total_changed AFTER UPDATE ON message
    REFERENCING OLD TABLE AS old_message NEW TABLE AS new_message
    FOR EACH STATEMENT EXECUTE FUNCTION total_changed_messages();
CREATE TRIGGER message_total_deleted AFTER DELETE ON message
    REFERENCING OLD TABLE AS old_message FOR EACH STATEMENT EXECUTE FUNCTION total_deleted_messages();

INSERT INTO message_total (hour, channel, state, reason, count)
SELECT date_trunc('hour', created_at, 'UTC'), channel, state, coalesce(reason, ''), count(*)
FROM message
WHERE created_at > now() - interval '62 days'
GROUP BY 1, 2, 3, 4;

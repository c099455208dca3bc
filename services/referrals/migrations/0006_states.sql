-- squawk-ignore-file ban-drop-constraint, require-concurrent-index-deletion, constraint-missing-not-valid
-- Holds, flags, decisions, expiry, caps and milestones. Migrations run in one transaction, which CONCURRENTLY cannot, and
-- the old code does not run beside the new one.

ALTER TABLE referral
    -- When the hold ends.
    ADD COLUMN due_at timestamptz,
    ADD COLUMN flagged_at timestamptz,
    -- The first instant at which time alone changes the referral: its window or its hold ends, or nobody decided.
    ADD COLUMN next_at timestamptz,
    -- The part of advocate_points that milestones gave, and their counts.
    ADD COLUMN milestone_points int NOT NULL DEFAULT 0,
    ADD COLUMN milestones int[] NOT NULL DEFAULT '{}',
    -- [{id, action, weight, at}], and the sum of the weights.
    ADD COLUMN signals json,
    ADD COLUMN score int NOT NULL DEFAULT 0,
    -- A person approved it: signals do not stop it any more.
    ADD COLUMN is_cleared boolean NOT NULL DEFAULT false,
    -- What was known of the friend from before the sign-up: an order, and a sign-up with another customer's code.
    ADD COLUMN has_bought boolean NOT NULL DEFAULT false,
    ADD COLUMN was_referred boolean NOT NULL DEFAULT false,
    -- [[time, order id]] of the orders that count, where more than one is needed.
    ADD COLUMN counted json,
    -- The cause of its last step that was not due by time.
    ADD COLUMN correlation_id text,
    ADD COLUMN causation_id text;

ALTER TABLE referral DROP CONSTRAINT referral_state_check;
ALTER TABLE referral DROP CONSTRAINT referral_closed;
ALTER TABLE referral DROP CONSTRAINT referral_qualified;

-- A block by a signal is a rejection for fraud with that signal.
UPDATE referral
SET reason = 'fraud',
    signals = json_build_array(json_build_object(
        'id', CASE reason WHEN 'self_referral' THEN 'self' WHEN 'referred_before' THEN 'already_referred'
                          ELSE 'already_bought' END,
        'action', 'block', 'weight', 0, 'at', to_char(signed_up_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
    )),
    has_bought = reason = 'bought_before',
    was_referred = reason = 'referred_before'
WHERE reason IN ('self_referral', 'referred_before', 'bought_before');

UPDATE referral SET due_at = qualified_at WHERE qualified_at IS NOT NULL;

-- The window is over right after its last instant.
UPDATE referral
SET next_at = signed_up_at + interval '1 microsecond'
              + make_interval(hours => 24 * (document -> 'qualifies' ->> 'within_days')::int)
FROM document_version
WHERE kind = 'referral_program' AND id = '' AND version = program_version AND referral.state = 'signed_up';

ALTER TABLE referral
    ADD CONSTRAINT referral_state CHECK (
        state IN ('signed_up', 'qualified', 'flagged', 'approved', 'rejected', 'voided', 'expired')
    ),
    ADD CONSTRAINT referral_reason CHECK (
        CASE WHEN state IN ('rejected', 'voided') THEN reason IS NOT NULL
             WHEN state = 'approved' THEN coalesce(reason IN ('cap', 'undecided'), true)
             ELSE reason IS NULL END
    ),
    ADD CONSTRAINT referral_closed CHECK (
        (state IN ('rejected', 'voided', 'expired')) = (closed_at IS NOT NULL)
    ),
    ADD CONSTRAINT referral_qualified CHECK (
        (order_id IS NULL) = (qualified_at IS NULL) AND (order_id IS NULL) = (due_at IS NULL)
        AND (state IN ('signed_up', 'rejected', 'expired') OR qualified_at IS NOT NULL)
    ),
    ADD CONSTRAINT referral_flagged CHECK ((state = 'flagged') = (flagged_at IS NOT NULL)),
    ADD CONSTRAINT referral_next CHECK (
        (state IN ('signed_up', 'qualified', 'flagged')) = (next_at IS NOT NULL)
    ),
    ADD CONSTRAINT referral_milestones CHECK (
        milestone_points >= 0 AND milestone_points <= coalesce(advocate_points, 0)
    );

-- A friend has one referral at most that is neither rejected nor expired.
DROP INDEX referral_standing;
CREATE UNIQUE INDEX referral_standing ON referral (friend_id) WHERE state NOT IN ('rejected', 'expired');
-- The one that stands first, then the newest.
CREATE INDEX referral_current ON referral (friend_id, (state = 'expired'), number DESC) WHERE state <> 'rejected';
-- A rejected referral by another customer makes the friend one who was referred before.
DROP INDEX referral_referred;
CREATE INDEX referral_rejected ON referral (friend_id) WHERE state = 'rejected' AND advocate_id <> friend_id;
-- The natural key of a sign-up; old rows may repeat it.
CREATE INDEX referral_sign_up ON referral (friend_id, code);
-- What falls due: of an advocate, and of everybody.
CREATE INDEX referral_due ON referral (advocate_id, next_at, number) WHERE next_at IS NOT NULL;
CREATE INDEX referral_next ON referral (next_at) WHERE next_at IS NOT NULL;
-- What an advocate was paid in a period, and the milestones that stand.
CREATE INDEX referral_paid ON referral (advocate_id, approved_at) INCLUDE (advocate_points, milestone_points)
    WHERE approved_at IS NOT NULL;
CREATE INDEX referral_carrier ON referral (advocate_id) WHERE state = 'approved' AND milestones <> '{}';

-- Of each advocate: approved referrals without voided ones; rewards that were paid and their points, voided or not,
-- without milestones.
CREATE TABLE advocate (
    customer_id text   PRIMARY KEY,
    approved    int    NOT NULL,
    rewards     bigint NOT NULL,
    points      bigint NOT NULL
);
INSERT INTO advocate (customer_id, approved, rewards, points)
SELECT advocate_id, count(*) FILTER (WHERE state = 'approved'), count(*) FILTER (WHERE advocate_points > 0),
       sum(advocate_points)
FROM referral
WHERE approved_at IS NOT NULL
GROUP BY advocate_id;

-- The rewards that all advocates and friends were paid, and their points without milestones: by quarter of an hour of
-- the approval, and in total at '-infinity'. Sums over shards: no row is hot.
CREATE TABLE reward_bucket (
    start   timestamptz NOT NULL,
    shard   smallint    NOT NULL,
    rewards bigint      NOT NULL,
    points  bigint      NOT NULL,
    PRIMARY KEY (start, shard)
) WITH (fillfactor = 50);
INSERT INTO reward_bucket (start, shard, rewards, points)
SELECT to_timestamp(floor(extract(epoch FROM approved_at) / 900) * 900), 0, count(*),
       sum(advocate_points + friend_points)
FROM referral
WHERE approved_at IS NOT NULL AND advocate_points + friend_points > 0
GROUP BY 1;
INSERT INTO reward_bucket (start, shard, rewards, points)
SELECT '-infinity', 0, sum(rewards), sum(points) FROM reward_bucket HAVING count(*) > 0;

-- Every change of a referral's state, each of which is an event too. `number` orders the changes of a referral.
CREATE TABLE referral_step (
    referral_id uuid        NOT NULL,
    number      bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    state       text        NOT NULL,
    reason      text,
    actor       text        NOT NULL,
    note        text,
    PRIMARY KEY (referral_id, number)
);
-- Of referrals from before, with the instant at which they were recorded.
INSERT INTO referral_step (referral_id, at, recorded_at, state, reason, actor)
SELECT referral_id, step.at, recorded_at, step.state, step.reason, 'system'
FROM referral
CROSS JOIN LATERAL (
    VALUES (1, 'signed_up', signed_up_at, NULL),
           (2, 'qualified', qualified_at, NULL),
           (3, 'approved', approved_at, NULL),
           (4, referral.state, closed_at, referral.reason)
) AS step (place, state, at, reason)
WHERE step.at IS NOT NULL
  AND NOT (referral.state = 'rejected' AND step.place = 1)
ORDER BY referral.number, step.place;

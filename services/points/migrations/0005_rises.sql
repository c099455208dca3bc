-- Awards of promotions belong to rises: the nth time that a customer enters a tier from below (rules/rises.py).
ALTER TABLE tier_entry ADD COLUMN rise int;

-- The rises of the timelines that are known: by the tiers of the rules in force at each entry, from the lowest one up,
-- or by the multipliers where these lack one. Before the first entry a customer is in the lowest tier.
WITH version AS (
    SELECT version, document, effective_at AS since, lead(effective_at) OVER (ORDER BY effective_at, version) AS until
    FROM earning_rules WHERE effective_at IS NOT NULL
), ladder AS MATERIALIZED (
    SELECT since, until, tier, place
    FROM version, json_array_elements_text(document->'tiers') WITH ORDINALITY AS step (tier, place)
), entry AS (
    SELECT customer_id, effective_at, tier, multiplier::numeric AS multiplier,
           lag(tier) OVER in_order AS tier_before, coalesce(lag(multiplier) OVER in_order, '1')::numeric AS before
    FROM tier_entry WINDOW in_order AS (PARTITION BY customer_id ORDER BY effective_at)
), placed AS (
    SELECT entry.*, here.place,
           CASE WHEN tier_before IS NULL THEN 1 ELSE there.place END AS place_before
    FROM entry
    LEFT JOIN ladder AS here ON here.tier = entry.tier AND here.since <= entry.effective_at
                            AND (here.until IS NULL OR entry.effective_at < here.until)
    LEFT JOIN ladder AS there ON there.tier = entry.tier_before AND there.since <= entry.effective_at
                             AND (there.until IS NULL OR entry.effective_at < there.until)
), counted AS (
    SELECT customer_id, effective_at, row_number() OVER (PARTITION BY customer_id, tier ORDER BY effective_at) AS rise
    FROM placed
    WHERE CASE WHEN place IS NULL OR place_before IS NULL THEN multiplier > before ELSE place > place_before END
)
UPDATE tier_entry SET rise = counted.rise
FROM counted
WHERE tier_entry.customer_id = counted.customer_id AND tier_entry.effective_at = counted.effective_at;

CREATE INDEX tier_entry_rise ON tier_entry (customer_id, tier, effective_at) WHERE rise IS NOT NULL;

-- An award was booked under the instant of its promotion. Now it is that of the rise at this instant, else of the first
-- rise into its tier without one. What was given for a rise that the timeline has no more keeps its name, and stays.
CREATE TEMPORARY TABLE renamed ON COMMIT DROP AS
WITH award AS (
    SELECT customer_id, origin, split_part(origin, '/', 2) AS tier, split_part(origin, '/', 3)::timestamptz AS at
    FROM accrual WHERE event = 'tier_promotion'
), exact AS (
    SELECT award.customer_id, award.origin, award.tier, tier_entry.rise
    FROM award JOIN tier_entry ON tier_entry.customer_id = award.customer_id AND tier_entry.tier = award.tier
                              AND tier_entry.effective_at = award.at AND tier_entry.rise IS NOT NULL
), other AS (
    SELECT *, row_number() OVER (PARTITION BY customer_id, tier ORDER BY at) AS place
    FROM award
    WHERE NOT EXISTS (SELECT FROM exact WHERE exact.customer_id = award.customer_id AND exact.origin = award.origin)
), free AS (
    SELECT customer_id, tier, rise, row_number() OVER (PARTITION BY customer_id, tier ORDER BY rise) AS place
    FROM tier_entry
    WHERE rise IS NOT NULL AND NOT EXISTS (
        SELECT FROM exact
        WHERE exact.customer_id = tier_entry.customer_id AND exact.tier = tier_entry.tier
          AND exact.rise = tier_entry.rise
    )
)
SELECT customer_id, origin, 'tier/' || tier || '/' || rise AS name FROM exact
UNION ALL
SELECT other.customer_id, other.origin, 'tier/' || other.tier || '/' || free.rise
FROM other JOIN free ON free.customer_id = other.customer_id AND free.tier = other.tier AND free.place = other.place;

UPDATE lot SET origin = renamed.name
FROM renamed WHERE lot.customer_id = renamed.customer_id AND lot.origin = renamed.origin;
UPDATE transaction SET inputs = jsonb_set(inputs::jsonb, '{origin}', to_jsonb(renamed.name))::json
FROM renamed WHERE transaction.customer_id = renamed.customer_id AND inputs->>'origin' = renamed.origin;
UPDATE accrual SET origin = renamed.name
FROM renamed WHERE accrual.customer_id = renamed.customer_id AND accrual.origin = renamed.origin;

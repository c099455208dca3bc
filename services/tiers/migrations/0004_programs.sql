-- The tier program is stored as every versioned document is: in the platform's table, with all that a program says now.
-- Nobody's tier changes: the days still roll, and nobody falls.
WITH tier AS (
    SELECT version, place, content ->> 'id' AS id, content ->> 'points_multiplier' AS multiplier,
           (SELECT max((need ->> 'at_least')::numeric) FROM json_array_elements(content -> 'needs') AS need) AS spend
    FROM tier_program, json_array_elements(document -> 'tiers') WITH ORDINALITY AS listed (content, place)
), tiers AS (
    SELECT version, json_agg(json_build_object(
        'id', id,
        'name', CASE id
            WHEN 'member' THEN '{"en": "Member", "ar": "عضو"}'::json
            WHEN 'silver' THEN '{"en": "Silver", "ar": "فضي"}'::json
            WHEN 'gold' THEN '{"en": "Gold", "ar": "ذهبي"}'::json
            ELSE json_build_object('en', left(id, 200))
        END,
        'points_multiplier', multiplier,
        'permanent', false,
        -- Nothing needed was anything spent.
        'enter', CASE WHEN place > 1 THEN json_build_array(json_build_array(json_build_object(
            'metric', 'spend', 'at_least', trim_scale(greatest(spend, 0.0001))::text))) END,
        'keep', null,
        'benefits', json_build_array()
    ) ORDER BY place) AS listed
    FROM tier
    GROUP BY version
)
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
SELECT 'tier_program', '', version, json_build_object(
           'currency', document ->> 'currency',
           'rates', '{}'::json,
           'time_zone', 'UTC',
           'period', '{"kind": "rolling_days", "days": 365}'::json,
           'tiers', listed,
           'downgrade', '{"to": "never", "when": "period_end", "grace_days": 0, "on_refund": "keep"}'::json,
           'at_risk_days', json_build_array(),
           'on_publish', 'promote_only',
           'moves', '{}'::json
       ),
       created_at, published_at, CASE WHEN published_at IS NOT NULL THEN effective_at END
FROM tier_program JOIN tiers USING (version);
-- The old code does not run beside the new one.
-- squawk-ignore ban-drop-table
DROP TABLE tier_program;

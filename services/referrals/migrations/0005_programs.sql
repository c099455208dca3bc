-- The referral program is stored as every versioned document is: in the platform's table, with all that a program says
-- now. What is paid, and for what, stays the same.
INSERT INTO document_version (kind, id, version, document, created_at, published_at, effective_at)
SELECT 'referral_program', '', version, json_build_object(
           'advocate_points', least((document ->> 'advocate_points')::numeric, 1000000000),
           'friend_points', least((document ->> 'friend_points')::numeric, 1000000000),
           'milestones', json_build_array(),
           'currency', document ->> 'currency',
           'rates', '{}'::json,
           'time_zone', 'UTC',
           'link', null,
           'qualifies', json_build_object(
               'nth_order', 1,
               'amount_at_least', regexp_replace(document ->> 'minimum', '^0+(?=[0-9])', ''),
               'within_days', least(ceil((document ->> 'within_hours')::numeric / 24), 36500)
           ),
           'hold_days', 0,
           'caps', json_build_array(),
           'signals', '[{"id": "self", "action": "block", "weight": 0, "threshold": null},
                        {"id": "already_bought", "action": "block", "weight": 0, "threshold": null},
                        {"id": "already_referred", "action": "block", "weight": 0, "threshold": null}]'::json,
           'flag_at', 50,
           'block_at', 100,
           'blocklist', '{"addresses": [], "domains": [], "cidrs": [], "countries": []}'::json,
           'undecided', '{"after_days": 14, "then": "approve"}'::json,
           'share', '{"en": "Join me, and we both get points with your first order: {link}",
                      "ar": "انضم إليّ، ونحصل كلانا على نقاط مع طلبك الأول: {link}"}'::json
       ),
       created_at, published_at, CASE WHEN published_at IS NOT NULL THEN effective_at END
FROM referral_program;
-- The old code does not run beside the new one.
-- squawk-ignore ban-drop-table
DROP TABLE referral_program;

-- The earning rules are stored as every versioned document is: in the platform's table.
INSERT INTO document_version (kind, id, version, document, revision, created_at, created_by, changed_by, published_at,
                             published_by, effective_at)
SELECT 'earning_rules', '', version, document, revision, created_at, created_by, changed_by, published_at,
       published_by, effective_at
FROM earning_rules;
-- The old code does not run beside the new one.
-- squawk-ignore ban-drop-table
DROP TABLE earning_rules;

-- Tells whether anything was published: the number of published tier programs, the last publication's instant, and the
-- last transaction that wrote one.
CREATE VIEW published_programs AS
SELECT count(*) AS number, max(published_at) AS last, max(xmin::text::bigint) AS transaction
FROM document_version
WHERE kind = 'tier_program' AND id = '' AND effective_at IS NOT NULL;

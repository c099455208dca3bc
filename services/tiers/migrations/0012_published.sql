-- Tells whether anything was published: the number of published tier programs, and the last publication's instant.
CREATE VIEW published_programs AS
SELECT count(*) AS number, max(published_at) AS last
FROM document_version
WHERE kind = 'tier_program' AND id = '' AND effective_at IS NOT NULL;

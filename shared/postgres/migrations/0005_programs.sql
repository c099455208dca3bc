-- Programs: documents that marketing writes, each in versions.

-- A version is a draft until it is published; from then on it never changes. In force at an instant is, of the
-- versions of a document effective by then, the one that came into force last.
CREATE TABLE document_version (
    kind         text NOT NULL, -- earning_rules, template, …
    id           text NOT NULL, -- of the document within its kind; '' where the kind has one document only
    version      int  NOT NULL CHECK (version > 0),
    document     json NOT NULL,
    revision     int  NOT NULL DEFAULT 1, -- how often the draft was written
    created_at   timestamptz NOT NULL,
    created_by   text,                    -- null: it ships with the product, or is older than this column
    changed_by   text,                    -- who replaced the draft last, if anybody did
    published_at timestamptz,
    published_by text,
    effective_at timestamptz,
    PRIMARY KEY (kind, id, version),
    CONSTRAINT published_version_is_effective CHECK ((published_at IS NULL) = (effective_at IS NULL))
);
CREATE INDEX document_version_in_force ON document_version (kind, id, effective_at DESC, version DESC)
    WHERE effective_at IS NOT NULL;
CREATE INDEX document_version_newest ON document_version (kind, created_at, id) WHERE version = 1;

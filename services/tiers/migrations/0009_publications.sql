-- The application of a published version to every customer, from the instant on at which it is in force. Customers whom
-- an event reaches first are judged by the version without it. The version that ships with the product needs none.
-- applied_at is when all slices were done, finished_at when nobody can be left over who was judged by older versions.
CREATE TABLE publication (
    id           uuid PRIMARY KEY,
    version      int         NOT NULL UNIQUE,
    effective_at timestamptz NOT NULL,
    published_at timestamptz NOT NULL,
    applied_at   timestamptz,
    finished_at  timestamptz
);
CREATE INDEX publication_open ON publication (effective_at) WHERE finished_at IS NULL;

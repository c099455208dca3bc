-- Codes of erased customers: they refer nobody, and are never given to anybody again.
CREATE TABLE retired_code (
    code       text PRIMARY KEY,
    retired_at timestamptz NOT NULL DEFAULT now()
);

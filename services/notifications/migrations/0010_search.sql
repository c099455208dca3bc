-- What customers with a profile are found by, in normal forms. A worker makes the rows of customers from before.
CREATE TABLE customer_search (
    customer_id text     PRIMARY KEY,
    email       text,                          -- in lower case
    phones      text[]   NOT NULL DEFAULT '{}', -- spellings of the number
    words       tsvector NOT NULL DEFAULT '',  -- of the name
    version     int      NOT NULL              -- of the normal forms; 0: the row is not made yet
);
INSERT INTO customer_search (customer_id, version) SELECT customer_id, 0 FROM customer WHERE seen_at IS NOT NULL;
CREATE INDEX customer_search_email ON customer_search (email) WHERE email IS NOT NULL;
CREATE INDEX customer_search_phones ON customer_search USING gin (phones);
CREATE INDEX customer_search_words ON customer_search USING gin (words);
CREATE INDEX customer_search_version ON customer_search (version, customer_id);

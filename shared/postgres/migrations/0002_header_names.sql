-- Names of headers as bytes. A producer may write any bytes as a name; as text, a NUL within it was lost,
-- so that one name could become another.

CREATE FUNCTION pg_temp.as_bytes(names text[]) RETURNS bytea[]
    LANGUAGE sql IMMUTABLE STRICT
    RETURN (
        SELECT coalesce(array_agg(convert_to(name, 'UTF8') ORDER BY place), '{}')
        FROM unnest(names) WITH ORDINALITY AS given (name, place)
    );

-- squawk-ignore changing-column-type
ALTER TABLE dead_letter ALTER COLUMN header_names TYPE bytea[] USING pg_temp.as_bytes(header_names);
-- squawk-ignore changing-column-type
ALTER TABLE waiting ALTER COLUMN header_names TYPE bytea[] USING pg_temp.as_bytes(header_names);

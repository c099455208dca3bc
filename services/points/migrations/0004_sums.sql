-- The program's side is the sum over all customers: it may be beyond a bigint where each of theirs fits one.
-- The table has a few rows, and the old code does not run beside the new one.
-- squawk-ignore changing-column-type
ALTER TABLE program_account ALTER COLUMN balance TYPE numeric;

-- An erasure looks up each of its customers in this index. Without a list of pending entries, which every look-up
-- would read from end to end: beside 4,000 new letters, 500 look-ups took 0.36 s with it and take 0.002 s without.
ALTER INDEX dead_letter_customer SET (fastupdate = off);
SELECT gin_clean_pending_list('dead_letter_customer');

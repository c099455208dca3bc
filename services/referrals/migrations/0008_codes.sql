-- Codes that customers choose, beside the one that is given out to each; both refer for ever.

-- key: what other tables keep of the code (rules/codes/code.py): of a code that was given out it is the code itself,
-- and null here; of a chosen one, which may be a name, a hash. chosen_at: when the customer chose it last.
ALTER TABLE referral_code ADD COLUMN key text, ADD COLUMN chosen_at timestamptz;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE referral_code ADD CONSTRAINT referral_code_chosen CHECK ((key IS NULL) = (chosen_at IS NULL));
-- squawk-ignore ban-drop-constraint
ALTER TABLE referral_code DROP CONSTRAINT referral_code_pkey;
CREATE UNIQUE INDEX referral_code_pkey ON referral_code (code);
ALTER TABLE referral_code ADD CONSTRAINT referral_code_pkey PRIMARY KEY USING INDEX referral_code_pkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE referral_code DROP CONSTRAINT referral_code_code_key;
CREATE UNIQUE INDEX referral_code_key ON referral_code (coalesce(key, code));
CREATE UNIQUE INDEX referral_code_given_out ON referral_code (customer_id) WHERE key IS NULL;
CREATE INDEX referral_code_customer ON referral_code (customer_id, chosen_at);

-- For the number of visits in some days.
CREATE INDEX referral_click_day ON referral_click (day);

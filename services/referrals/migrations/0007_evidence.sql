-- What customers and sign-ups told, so that a friend can be compared with an advocate: as keyed hashes only.

-- The order in which events were handled: a batch takes one number, and its events follow from there.
CREATE SEQUENCE evidence_mark AS bigint INCREMENT BY 65536 CACHE 1;

-- A value of a customer. hash: the first 16 bytes of an HMAC-SHA256 over kind and value. mark: the place of its first
-- telling in the order of handling. until: the latest time of an event that told it; 400 days later it is forgotten.
-- payload: of e-mail addresses, the hash of the domain and the encrypted local part.
CREATE TABLE evidence (
    customer_id text        NOT NULL,
    kind        smallint    NOT NULL,
    hash        uuid        NOT NULL,
    mark        bigint      NOT NULL,
    until       timestamptz NOT NULL,
    payload     bytea,
    PRIMARY KEY (customer_id, kind, hash)
);
-- The newest values of a customer, however many there are.
CREATE INDEX evidence_newest ON evidence (customer_id, kind, mark);
-- How many customers have a value.
CREATE INDEX evidence_hash ON evidence (hash, mark);
CREATE INDEX evidence_until ON evidence (until);

-- When customers registered: ids and times, kept until the customer is erased. Of several registrations the earliest
-- counts; a later one is stored only if it was handled first.
CREATE TABLE customer_registered (
    customer_id   text        NOT NULL,
    registered_at timestamptz NOT NULL,
    mark          bigint      NOT NULL,
    PRIMARY KEY (customer_id, registered_at)
);

-- The sign-ups that became a referral, also rejected ones, for counts over hours and days. ip and network are hashes of
-- evidence, null where the sign-up told no address, and once its friend was erased.
CREATE TABLE sign_up_trace (
    referral_id  uuid        PRIMARY KEY,
    mark         bigint      NOT NULL,
    friend_id    text        NOT NULL,
    advocate_id  text        NOT NULL,
    code         text        NOT NULL,
    signed_up_at timestamptz NOT NULL,
    ip           uuid,
    network      uuid
);
CREATE INDEX sign_up_trace_advocate ON sign_up_trace (advocate_id, signed_up_at);
CREATE INDEX sign_up_trace_code ON sign_up_trace (code, signed_up_at);
CREATE INDEX sign_up_trace_ip ON sign_up_trace (ip, signed_up_at) WHERE ip IS NOT NULL;
CREATE INDEX sign_up_trace_friend ON sign_up_trace (friend_id) WHERE ip IS NOT NULL;
CREATE INDEX sign_up_trace_signed_up_at ON sign_up_trace (signed_up_at);

-- How often people rejected an advocate's referrals.
CREATE INDEX referral_decided ON referral (advocate_id) WHERE state = 'rejected' AND reason = 'decision';

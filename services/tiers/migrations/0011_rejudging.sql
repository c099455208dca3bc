-- Customers with long histories who are judged again without a lock. Nobody else begins to judge the customer before
-- `until`; late_from and late_for are the mark (as in customer) of what arrived since the judging began.
CREATE TABLE rejudging (
    customer_id text        PRIMARY KEY,
    until       timestamptz NOT NULL,
    late_from   timestamptz,
    late_for    json
);

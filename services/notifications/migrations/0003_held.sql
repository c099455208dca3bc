-- A registration releases the mails that wait for it: they are found among all that the customer was sent.
CREATE INDEX message_held ON message (customer_id) WHERE state = 'held';

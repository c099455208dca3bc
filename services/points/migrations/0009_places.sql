-- What belongs to an order or an accrual is found by its primary key. An index that begins with the same columns looks
-- as good to the planner where the average customer has one order; then it reads all that the largest one has. So the
-- indexes by time are on expressions, which only the statements use that ask for a span of time.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX refund_place;
CREATE INDEX refund_place ON refund ((customer_id || chr(31) || order_id), occurred_at, refund_id COLLATE "C");
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX purchase_occurred;
CREATE INDEX purchase_occurred ON purchase ((customer_id || ''), occurred_at);
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX accrual_occurred;
CREATE INDEX accrual_occurred ON accrual ((customer_id || ''), occurred_at);

"""The oracle: what the log and the acknowledged API writes have to come to, replayed by one thread without a database.

Written apart from the services' handlers and stores; of them only rules and contracts are used. The log fixes the
order within a topic and a customer. What is not fixed by it is how topics (and API writes) of one customer interleave:

- points: the replay goes by the order of the customer's own statement, and nothing else of it: each line names the
  event or write that caused it, everything else (what it gives, takes, leaves) is computed and has to be the line.
  An event that left no line is applied before the next of its topic; a tier event that left none, when an order was
  judged by it. An event whose line is missing makes a line too many at the end. Of a customer with more than 100
  orders, whose timeline is settled in parts, the sums of each order are compared.
- referrals: the outcome has to be that of some interleaving of the friend's purchases with the friend's sign-ups.
- tiers and messages do not depend on it: they are functions of the set of events.

Not compared: which of two customers got the last of a limit that the whole program shares (a race that has no order
in the log). What each got is read from the services and handed to the replay; the totals are checked apart.
Nor ids and instants of recording, which the services draw.
"""

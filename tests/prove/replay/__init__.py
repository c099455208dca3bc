"""The oracle: the state that the log and the acknowledged API writes require, replayed in memory by one thread.

Written apart from the services' handlers and stores; of them only rules and contracts are used. The log fixes the
order within a topic and a customer. What is not fixed by it is how topics (and API writes) of one customer interleave:

- points: the replay takes only the order of the lines from the customer's statement, and the event or write that each
  line names as its cause. It computes everything else (points and balances), which has to equal the line. An event
  without a line is applied before the next event of its topic; a tier event without a line, when an order was judged
  by it: where the customer had the tier of the order's line several times, each of these moments is tried. An event
  whose line is missing adds a line at the end. For a customer with more than 100 orders, whose
  timeline is settled in parts, the sums of each order are compared, and no write is sent.
- referrals: the outcome has to be that of some interleaving of the friend's purchases with the friend's sign-ups.
- tiers and messages do not depend on the interleaving: they are functions of the set of events.

Not compared: which of two customers got the last points of a limit that the whole program shares (the log does not
order this race). Each customer's part is read from the services and given to the replay; the totals are checked
separately. Ids and instants of recording are not compared either, since the services generate them.
"""

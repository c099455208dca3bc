"""Pure decisions on points: what is due, what is posted, what a receipt says."""

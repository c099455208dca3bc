"""Pure decisions on points: what is due, what is posted, what the receipt says."""

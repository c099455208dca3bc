"""Pure decisions: the customer's profile, the notices of an event, and whether a mail may be sent."""

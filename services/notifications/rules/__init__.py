"""What is known of a customer, what they are told, and whether a mail may go out. No I/O, no clock."""

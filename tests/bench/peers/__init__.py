"""What a user would write or pick instead: the same rows in the same tables, by other means."""

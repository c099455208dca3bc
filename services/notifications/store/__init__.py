"""All SQL of the service: customers, the messages to them, and the mails that are due."""

"""The books of customers: how events, requests and time change their state and their ledger."""

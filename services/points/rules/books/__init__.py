"""The customers' books: how events, requests and time change what is known of customers and what their ledger holds."""

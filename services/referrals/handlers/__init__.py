"""What the worker and the API do: each handler in a transaction that it is given."""

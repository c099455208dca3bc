"""The ledger: accounts, lots, postings and transactions, their arithmetic, and the receipts that explain them."""

"""The contract as documents for others: JSON Schemas, AsyncAPI, a page to read, and what may change."""

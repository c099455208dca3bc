"""The contract as documents: JSON Schemas, an AsyncAPI document, a page, and the rules of compatibility."""

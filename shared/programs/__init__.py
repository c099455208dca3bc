"""Programs: versioned documents that are drafted, checked, published at an instant, and never changed afterwards."""

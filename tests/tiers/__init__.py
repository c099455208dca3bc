"""Tests of services/tiers."""

"""Honest measurement: protocols, rankings, metrics and how sure they are."""

"""The routes, a file a noun: each parses, checks, calls, notes and answers."""

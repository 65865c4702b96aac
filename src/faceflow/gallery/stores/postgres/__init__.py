"""A gallery in a schema of a PostgreSQL database, for several machines (extra ``postgres``)."""

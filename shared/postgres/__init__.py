"""PostgreSQL: the pool, migrations, and the tables that every service has."""

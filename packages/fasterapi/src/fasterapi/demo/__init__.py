"""The demonstration: ``python -m fasterapi.demo`` starts PostgreSQL and the store and uses them."""

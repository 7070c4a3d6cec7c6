"""Migrations of a study's database, run by Alembic from `Store.migrate`."""

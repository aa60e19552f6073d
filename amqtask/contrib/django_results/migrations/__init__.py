"""Migrations, in Django's own form."""

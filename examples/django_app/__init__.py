"""A Django app whose tasks are sent when the transaction is committed."""

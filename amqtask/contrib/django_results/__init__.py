"""A Django app with the tables of the result backend `django`; add it to INSTALLED_APPS."""

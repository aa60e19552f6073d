"""Django's settings: one database in a file."""

import os

SECRET_KEY = "only-an-example"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DJANGO_DATABASE", "orders.sqlite3")}
}
INSTALLED_APPS = ["examples.django_app"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

"""The one model."""

from django.db import models


class Order(models.Model):  # type: ignore[misc]  # Django has no types
    """An order; a task finds out its price."""

    name = models.CharField(max_length=100)
    price = models.IntegerField(null=True)

    class Meta:
        app_label = "django_app"

"""The Django app's configuration."""

from django.apps import AppConfig


class ResultsConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Results of amqtask's tasks."""

    name = "amqtask.contrib.django_results"
    label = "amqtask_results"
    verbose_name = "Task results"
    default_auto_field = "django.db.models.BigAutoField"

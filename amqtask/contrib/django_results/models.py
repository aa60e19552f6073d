"""The tables of the result backend `django`."""

from django.db import models


class StoredResult(models.Model):  # type: ignore[misc]  # Django has no types
    """A task's report; `value` holds it, the other columns are for people and their queries."""

    task_id = models.CharField(max_length=155, primary_key=True)
    precedence = models.BigIntegerField()
    status = models.CharField(max_length=50, db_index=True)
    name = models.CharField(max_length=255, blank=True, default="")
    date_done = models.DateTimeField(null=True, blank=True)
    value = models.BinaryField()
    expires_at = models.FloatField(db_index=True, help_text="Seconds since the epoch.")

    class Meta:
        app_label = "amqtask_results"
        verbose_name = "task result"

    def __str__(self) -> str:
        return f"{self.name or 'task'} {self.task_id}: {self.status}"


class StoredGroup(models.Model):  # type: ignore[misc]  # Django has no types
    """The members of a saved group."""

    group_id = models.CharField(max_length=155, primary_key=True)
    value = models.BinaryField()
    expires_at = models.FloatField(db_index=True, help_text="Seconds since the epoch.")

    class Meta:
        app_label = "amqtask_results"
        verbose_name = "group result"

    def __str__(self) -> str:
        return f"group {self.group_id}"

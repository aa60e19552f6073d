"""The two tables."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Makes them."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            name="StoredGroup",
            fields=[
                ("group_id", models.CharField(max_length=155, primary_key=True, serialize=False)),
                ("value", models.BinaryField()),
                ("expires_at", models.FloatField(db_index=True, help_text="Seconds since the epoch.")),
            ],
            options={
                "verbose_name": "group result",
            },
        ),
        migrations.CreateModel(
            name="StoredResult",
            fields=[
                ("task_id", models.CharField(max_length=155, primary_key=True, serialize=False)),
                ("precedence", models.BigIntegerField()),
                ("status", models.CharField(db_index=True, max_length=50)),
                ("name", models.CharField(blank=True, default="", max_length=255)),
                ("date_done", models.DateTimeField(blank=True, null=True)),
                ("value", models.BinaryField()),
                ("expires_at", models.FloatField(db_index=True, help_text="Seconds since the epoch.")),
            ],
            options={
                "verbose_name": "task result",
            },
        ),
    ]

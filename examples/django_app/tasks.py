"""The tasks: `amqtask worker -A examples.django_app.tasks:app`, after `django-admin migrate --run-syncdb`."""

import os

import django
from django.db import transaction

from amqtask import App
from amqtask.contrib.django import DjangoTask, delay_on_commit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_app.settings")
django.setup()

from examples.django_app.models import Order  # noqa: E402 - models need Django set up

app = App(
    "django_app",
    config={
        "broker": {"url": os.environ.get("AMQTASK_BROKER_URL", "amqp://localhost/")},
        "queues": {"orders": {}},
        "tasks": {"default_queue": "orders"},
    },
)


@app.task(base=DjangoTask)
def price(order_id: int) -> int:
    """Find out the price of an order; it is there, because its transaction is committed."""
    order = Order.objects.get(pk=order_id)
    order.price = 3 * len(order.name)
    order.save()
    return int(order.price)


def place(name: str, *, fail: bool = False) -> int:
    """Place an order and have it priced; both or neither."""
    with transaction.atomic():
        order = Order.objects.create(name=name)
        delay_on_commit(price, order.pk)
        if fail:
            raise ValueError(f"no {name} today")
    return int(order.pk)

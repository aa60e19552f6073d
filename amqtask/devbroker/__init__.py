"""An AMQP 0-9-1 broker for development and tests. It stands alone: it imports nothing of amqtask."""

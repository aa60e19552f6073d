"""An AMQP 0-9-1 broker for development and tests. It stands alone: it imports nothing of amqtask.

`amqtask.devbroker.broker.Broker` is the whole of it without a socket; `amqtask.devbroker.server.Server` puts it on one,
and `python -m amqtask.devbroker` runs that. Nothing is imported here, so that the broker alone needs no pamqp.
"""

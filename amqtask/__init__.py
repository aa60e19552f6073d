"""amqtask: tasks over RabbitMQ."""

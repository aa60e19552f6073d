"""What a user of amqtask needs to test tasks, and a RabbitMQ of their own to test them on."""

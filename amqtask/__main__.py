"""`python -m amqtask` is `amqtask`."""

from amqtask.cli.main import main

main()

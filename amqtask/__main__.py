"""`python -m amqtask` is `amqtask`."""

from amqtask.cli.entry import main

main()

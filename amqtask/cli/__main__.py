"""`python -m amqtask.cli`: the command line where the console script is not on the path."""

from amqtask.cli.main import main

main()

"""Broadcast control: commands to all nodes over a fanout exchange, and their answers."""

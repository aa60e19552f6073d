"""Pure functions and frozen values: no clock, socket, thread, logging or environment."""

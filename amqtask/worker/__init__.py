"""The worker: a supervisor process, and processes that consume and execute."""

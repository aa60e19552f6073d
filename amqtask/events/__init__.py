"""Events: what tasks and workers tell those who watch."""

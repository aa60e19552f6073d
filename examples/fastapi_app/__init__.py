"""A web service with FastAPI that sends tasks and waits for them on its event loop."""

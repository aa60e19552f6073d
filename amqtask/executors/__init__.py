"""The executor port (`base`) and the table of its implementations, loaded when chosen."""

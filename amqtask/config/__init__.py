"""YAML -> frozen models, strictly: nothing in a configuration is ever ignored in silence."""

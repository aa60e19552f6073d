"""One file a framework; ``base`` says what it offers. Only chosen ones are imported, each in a process of its own."""

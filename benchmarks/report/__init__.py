"""What a run is shown as: tables in the terminal, JSON, Markdown and plots."""

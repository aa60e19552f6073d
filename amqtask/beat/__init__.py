"""Beat: publishes ticks on schedule, from as many schedulers as you like."""

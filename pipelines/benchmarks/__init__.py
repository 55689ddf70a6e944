"""What it costs: seconds, rows, memory, replicas."""

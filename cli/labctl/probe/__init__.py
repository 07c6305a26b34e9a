"""What this host can and cannot do, as values: asked in parallel, each question with a deadline, changing nothing."""

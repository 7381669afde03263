"""What a run's network says: its outputs, verdicts on them, reports, sweeps, maps, and runs beside each other."""

"""The Lightning trainer of anyx: stages, losses, the trainee, the run."""

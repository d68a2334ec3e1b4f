"""How a model answers: `events` in order, media `making`, and a `session` that remembers its conversation."""

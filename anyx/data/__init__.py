"""Where samples come from: JSONL chat messages, readers of other formats, mixtures, the feature cache."""

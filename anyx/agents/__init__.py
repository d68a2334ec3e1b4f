"""Models that act: tools that a reply may call, and the bounded loop that runs them and lets the model answer."""

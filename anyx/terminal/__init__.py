"""What the terminal shows and hears: pictures in its own protocols, lines with history, conversations in folders."""

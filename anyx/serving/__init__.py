"""The web demo and the server: what people send is read with care (`intake`), and answered as they expect."""

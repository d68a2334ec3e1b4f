"""What lives inside the layers of any causal LM of transformers, without a modelling file of our own."""

"""The YAML files that anyx ships, as package data: `configs/models/<system>.yaml`."""

"""Published checkpoints <-> model folders of ours, one file a system; `systems.py` says how to add one."""

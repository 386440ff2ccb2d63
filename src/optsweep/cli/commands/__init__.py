"""The commands beside the one that trains: `predict`, `report`, `sync` and `verdict`."""

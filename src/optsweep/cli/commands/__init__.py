"""The commands beside the one that trains: `report` and `sync`."""

"""One program for each client, run in that client's own environment; see `protocol`."""

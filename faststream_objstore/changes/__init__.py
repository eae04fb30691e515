"""The change subscribers: what runs when an object is put or deleted."""

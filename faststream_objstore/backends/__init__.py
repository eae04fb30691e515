"""What a store stands on: a stream of messages, on a server or in memory."""

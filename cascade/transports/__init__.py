"""The HTTP clients that calls can be sent with, one file a client."""

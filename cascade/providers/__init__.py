"""The built-in providers, one file a wire format."""

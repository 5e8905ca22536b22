"""Every frame that a server could send, in the middle of a stream that goes on."""

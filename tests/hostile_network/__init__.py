"""Everything that a server or a network can do below the messages, through every adapter."""

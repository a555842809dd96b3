"""The only door to the network: a command goes to a login host, an answer comes back."""

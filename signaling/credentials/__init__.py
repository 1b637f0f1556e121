"""What a server reads from files and keeps to itself: keys for tokens, the TURN secret, certificates."""

"""What puts the server on a machine: the one-file build, and files for containers, systemd and proxies."""

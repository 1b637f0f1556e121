"""For whoever runs the server: the admin API, metrics, health and the status page."""

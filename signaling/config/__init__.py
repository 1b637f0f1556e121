"""Every setting of the server, where its value comes from, and how it is shown."""

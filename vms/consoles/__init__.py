"""A guest's screen and serial line in the browser: one-time tickets, open sessions and the websockify process."""

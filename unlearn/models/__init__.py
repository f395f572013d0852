"""Networks: one file an architecture, and the user's own."""

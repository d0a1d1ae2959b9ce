"""Traces: which keys a service asked for and when, what their values cost and weigh, and no user data."""

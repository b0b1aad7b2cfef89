"""Columns and tables of profiles: what they are called, what they hold, what belongs together."""

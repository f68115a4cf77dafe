"""Failures that the user of the demo engine can mend."""


class InputError(Exception):
    """Something is wrong with what was given; the message is one line that says what and where."""

"""What can go wrong in the harness itself. Each message is a whole answer: cause, value seen, what to do."""


class HarnessError(Exception):
    """The run could not be made (exit code 2): a bad scenario, a port in use, a node that does not start."""


class ScenarioError(HarnessError):
    """A scenario file that cannot be used; the text has one line a fault."""


class NotSent(Exception):
    """The node certainly never saw the request: no connection, or no time left before the first byte."""


class Lost(Exception):
    """The request went out and no answer came: its outcome is unknown, and the node may still carry it out later."""

"""What can go wrong with the test cluster; raised by every module here, printed by `__main__`.

ClusterError
├── MachineLacks      the machine misses something that a person has to provide
├── CommandFailed     a program that we started ended with an error
└── NodeImageMissing  kind is there, its node image cannot be had
"""


class ClusterError(Exception):
    """A failure told the way PostgreSQL tells its own: message, detail, hint."""

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        """All three parts, one below the other; empty ones left out."""
        parts = [self.message]
        if self.detail:
            parts.append(f"detail: {self.detail}")
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)


class MachineLacks(ClusterError):
    """The machine misses something; the hint says what to type."""


class CommandFailed(ClusterError):
    """A program ended with an error; the detail holds the end of what it wrote."""


class NodeImageMissing(ClusterError):
    """kind could not get its node image, so the caller may take the node of our own instead."""

"""The kind `run`: a command in the node exits 0."""

from __future__ import annotations

from labctl.checks.attempt import Attempt, Finding, join, text_of


def run(attempt: Attempt) -> Finding:
    """A command in the node exits 0."""
    subject = attempt.check.subject
    result = attempt.in_node(["sh", "-c", subject] if isinstance(subject, str) else subject, slack=0.0)
    text = text_of(result)
    return Finding(holds=result.code == 0, output=text if result.code == 0 else join(text, f"exit code {result.code}"))

"""One command at work on a lab: its display, its time, its counts, and the question before something is destroyed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from labctl.commands.options import OutputFormat, Progress
from labctl.events import Event, Finished, Notice
from labctl.ui.display import choose_mode, open_display

if TYPE_CHECKING:
    from labctl.engine import Outcome
    from labctl.plan.model import Plan


class Session:
    """The display of one command, open inside ``with``."""

    def __init__(
        self,
        lab: str,
        progress: Progress,
        *,
        quiet: bool = False,
        verbose: bool = False,
        output: OutputFormat = OutputFormat.TABLE,
    ) -> None:
        mode = choose_mode(progress.value, quiet=quiet)
        self.lab = lab
        self.quiet = mode in ("quiet", "json")
        self.seconds = 0.0
        self.counts: dict[str, int] = {}
        self._display = open_display(mode, verbose=verbose, data_on_stdout=output is not OutputFormat.TABLE)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def emit(self, event: Event) -> None:
        """Show an event."""
        self._display.emit(event)

    def notices(self, texts: Iterable[str]) -> None:
        """Show remarks on the lab file."""
        for text in texts:
            self.emit(Notice(text))

    def pause(self) -> AbstractContextManager[None]:
        """Stop drawing for as long as a question is asked."""
        return self._display.pause()

    def finish(self, outcome: Outcome, exit_code: int = 0) -> None:
        """Show how it went."""
        self.seconds = time.monotonic() - self._began
        self.counts = {"done": len(outcome.done), "failed": len(outcome.failed), "skipped": len(outcome.skipped)}
        self.emit(Finished(self.lab, self.seconds, exit_code or int(bool(outcome.failed)), self.counts))


def confirmation(*, yes: bool, pause: Callable[[], AbstractContextManager[None]]) -> Callable[[Plan], None]:
    """Asks before a plan that destroys something; raises `UsageError` when the answer is no."""

    def ask(plan: Plan) -> None:
        if yes:
            return
        from labctl.ui.confirm import confirm

        lost = [f"{step.ref}: {step.because}" for step in plan.steps if step.destroys]
        with pause():
            confirm("these are removed or made anew, with the files inside them:\n  " + "\n  ".join(lost) + "\ngo on?")

    return ask

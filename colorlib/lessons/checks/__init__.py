"""Exercise checkers, one module per chapter.

A checker calls the reader's function and answers in one sentence. It never raises, whatever the function does.
"""

from collections.abc import Callable


class Verdict(str):
    """A checker's answer. As the last line of a cell it is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    @property
    def correct(self) -> bool:
        """Whether the exercise is solved."""
        return self.startswith("correct")


NOT_ATTEMPTED = Verdict("not attempted yet: write your lines where the stub says “your turn”, then run the cell again.")


def verdict_of(check: Callable[[], str]) -> Verdict:
    """Run a check that returns a sentence; an exception raised by the reader's function becomes a sentence, too."""
    try:
        return Verdict(check())
    except Exception as error:  # the reader's function may raise anything, and they should see their own error
        return Verdict(f"not yet: your code raised {type(error).__name__}: {error}")

"""Exercise checkers, a module a chapter: each answers in a sentence and never raises, whatever the attempt does."""

from collections.abc import Callable


class Verdict(str):
    """A checker's answer. A notebook shows it without quotes when it is a cell's last line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    @property
    def correct(self) -> bool:
        """Whether the exercise is solved."""
        return self.startswith("correct")


NOT_ATTEMPTED = Verdict("not attempted yet: write your lines where the stub says “your turn”, then run the cell again.")


def judge(check: Callable[[], str]) -> Verdict:
    """Run a check that returns a sentence; turn whatever the attempt raises into a sentence, too."""
    try:
        return Verdict(check())
    except Exception as error:  # an attempt may raise anything, and the reader should see their own error
        return Verdict(f"not yet: your code raised {type(error).__name__}: {error}")

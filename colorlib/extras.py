"""One sentence where a package is missing that an extra of colorlib brings."""


class MissingExtra(ImportError):  # noqa: N818
    """An optional package is not installed; the message has the command that installs it.

    Args:
        package: that could not be imported, as in "matplotlib".
        extra: of colorlib that brings it, as in "notebooks".
    """

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; install it with: pip install 'colorlib[{extra}]'.", name=package)
        self.extra = extra

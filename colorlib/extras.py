"""The error for a missing optional package."""


class MissingExtra(ImportError):  # noqa: N818
    """An optional package is not installed; the message contains the command that installs it.

    Args:
        package: the package that could not be imported, for example "matplotlib".
        extra: the extra of colorlib that includes the package, for example "notebooks".
    """

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; install it with: pip install 'colorlib[{extra}]'.", name=package)
        self.extra = extra

"""What an override on the command line sets."""


def key_of(argument: str) -> str:
    """What an argument sets: "+optimizer.foo=1" -> "optimizer.foo"."""
    return argument.lstrip("+~").partition("=")[0]

"""What a power cut, or a foreign program, makes of a file."""

from collections.abc import Callable

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "foreign": lambda whole: b'\xff\xfe{"a": 1}\n[1]\n5\nnull\n"x"\n',
    "zeros": lambda whole: bytes(len(whole)),
    "zeros at the end": lambda whole: whole[: len(whole) // 2] + bytes(len(whole) // 2),
}

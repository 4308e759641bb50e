"""Armour is taken off, or refused where it is damaged."""

import base64

import pytest

from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from tests.unit.worker.stages.messages import decode, simple_message

TEXT = b"select 1;\n"
BEGIN, END = b"-----BEGIN PGP MESSAGE-----", b"-----END PGP MESSAGE-----"
CHECK_SUM = b"=Ci43"


def armoured(content: bytes, *, line_end: bytes = b"\n", headers: tuple[bytes, ...] = ()) -> bytes:
    text = base64.b64encode(simple_message(content))
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return line_end.join((BEGIN, *headers, b"", *lines, CHECK_SUM, END, b""))


FORMS = {
    "as gpg writes it": armoured(TEXT),
    "with headers": armoured(TEXT, headers=(b"Version: GnuPG v1", b"Comment: from the old host")),
    "with the line ends of Windows": armoured(TEXT, line_end=b"\r\n"),
    "with spaces at the ends of lines": armoured(TEXT, line_end=b" \n"),
    "without a check sum": armoured(TEXT).replace(CHECK_SUM + b"\n", b""),
    "without a last line end": armoured(TEXT).rstrip(),
}


@pytest.mark.parametrize("step", [0, 1, 50])
@pytest.mark.parametrize("stored", FORMS.values(), ids=FORMS.keys())
def test_armour_is_taken_off(stored, step):
    assert decode(stored, step=step) == TEXT


def test_long_armour_is_taken_off():
    assert decode(armoured(TEXT * 100_000), step=10_000) == TEXT * 100_000


@pytest.mark.parametrize("content", [TEXT, TEXT + b"x", TEXT + b"xx"], ids=["one", "two", "three"])
def test_every_flipped_bit_of_armour_is_refused(content):
    stored = armoured(content)
    for at in range(stored.index(b"\n\n") + 2, stored.index(b"\n" + CHECK_SUM)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[at] ^= 1 << bit
            with pytest.raises((VerificationFailed, KeyInvalid)):
                decode(bytes(changed))


REFUSALS = {
    "another kind": armoured(TEXT).replace(b"MESSAGE", b"PUBLIC KEY BLOCK"),
    "no end": armoured(TEXT).replace(END, b""),
    "something after the end": armoured(TEXT) + b"x",
    "a second message": armoured(TEXT) * 2,
    "only a beginning": BEGIN,
    "an endless line": BEGIN + b"\n\n" + b"A" * 5000,
}


@pytest.mark.parametrize("stored", REFUSALS.values(), ids=REFUSALS.keys())
def test_damaged_armour_is_refused(stored):
    with pytest.raises(VerificationFailed):
        decode(stored)

"""An arithmetic coder: code words whose lengths are those of a certificate.

A code word is a prefix of no other (any bits may follow it, and it is decoded
all the same), so that the lengths satisfy Kraft's inequality.
"""

import math
import struct

_BITS = 62  # Of the interval; totals must stay far below it.
_TOP = 1 << _BITS
_HALF, _QUARTER = _TOP >> 1, _TOP >> 2
LARGEST_TOTAL = 1 << 40


class Encoder:
    """Writes numbers into one code word.

    Attributes:
        items: Dict from a name to the bits that it took, fractions included.
    """

    def __init__(self):
        self._low, self._high = 0, _TOP - 1
        self._pending = 0
        self._bits = []
        self.items = {}
        self._name = "other"

    def name(self, name):
        """Says what the next numbers are, for `items`."""
        self._name = name

    def integer(self, value, count):
        """Writes an integer from 0 to `count - 1`, all equally likely."""
        if not 0 <= value < count:
            raise ValueError(
                f"`value` must lie in [0, {count}). Received: value={value}"
            )
        if count > LARGEST_TOTAL:  # The first digits first, however many.
            self.integer(value >> 32, -(-count >> 32))
            value, count = value & 0xFFFFFFFF, 1 << 32
        self.interval(value, value + 1, count)

    def number(self, value, kind="f"):
        """Writes a float32 (`"f"`) or float16 (`"e"`)."""
        size = struct.calcsize(kind)
        raw = int.from_bytes(struct.pack(f"<{kind}", value), "little")
        self.integer(raw, 1 << 8 * size)

    def positive(self, value):
        """Writes an integer of at least 1: `2 floor(log2 n) + 1` bits."""
        length = value.bit_length()
        for _ in range(length - 1):
            self.integer(0, 2)
        self.integer(1, 2)
        self.integer(value - (1 << length - 1), 1 << length - 1)

    def symbols(self, values, alphabet):
        """Writes symbols from 0 to `alphabet - 1` by how often each came before.

        The Krichevsky-Trofimov code: symbol `s` has probability
        `(n_s + 1/2) / (n + alphabet / 2)` after `n` symbols.
        """
        model = KrichevskyTrofimov(alphabet)
        for value in values:
            self.interval(*model.interval(value))
            model.add(value)

    def interval(self, start, stop, total):
        """Narrows the interval to `[start, stop)` out of `total`."""
        width = self._high - self._low + 1
        self._high = self._low + width * stop // total - 1
        self._low += width * start // total
        bits = math.log2(total) - math.log2(stop - start)
        self.items[self._name] = self.items.get(self._name, 0.0) + bits
        while True:
            if self._high < _HALF:
                self._write(0)
            elif self._low >= _HALF:
                self._write(1)
                self._low -= _HALF
                self._high -= _HALF
            elif self._low >= _QUARTER and self._high < _HALF + _QUARTER:
                self._pending += 1
                self._low -= _QUARTER
                self._high -= _QUARTER
            else:
                return
            self._low *= 2
            self._high = 2 * self._high + 1

    def finish(self):
        """Returns the code word, as a list of bits."""
        # Whatever follows these bits lies in the interval.
        self._pending += 1
        self._write(int(self._low >= _QUARTER))
        return self._bits

    def _write(self, bit):
        self._bits.append(bit)
        self._bits.extend([1 - bit] * self._pending)
        self._pending = 0


class Decoder:
    """Reads the numbers of a code word, in the order in which they were written.

    Attributes:
        items: As those of `Encoder`, of what was read.
    """

    def __init__(self, bits):
        self.items = {}
        self._name = "other"
        self._shifts = 0
        self._source = iter(bits)
        self._low, self._high = 0, _TOP - 1
        self._value = 0
        for _ in range(_BITS):
            self._value = 2 * self._value + next(self._source, 0)

    @property
    def length(self):
        """The length of the code word, if it ends here."""
        return self._shifts + 2  # One bit a shift, and two that `finish` writes.

    def name(self, name):
        """Says what the next numbers are, for `items`."""
        self._name = name

    def integer(self, count):
        """Reads what `Encoder.integer` wrote."""
        if count > LARGEST_TOTAL:
            first = self.integer(-(-count >> 32))
            return (first << 32) + self.integer(1 << 32)
        value = self._target(count)
        self._narrow(value, value + 1, count)
        return value

    def number(self, kind="f"):
        """Reads what `Encoder.number` wrote."""
        size = struct.calcsize(kind)
        raw = self.integer(1 << 8 * size).to_bytes(size, "little")
        return struct.unpack(f"<{kind}", raw)[0]

    def positive(self):
        """Reads what `Encoder.positive` wrote."""
        length = 1
        while self.integer(2) == 0:
            length += 1
            if length > 64:
                raise ValueError("The code is damaged: a number has no end.")
        return (1 << length - 1) + self.integer(1 << length - 1)

    def symbols(self, count, alphabet):
        """Reads what `Encoder.symbols` wrote."""
        model = KrichevskyTrofimov(alphabet)
        values = []
        for _ in range(count):
            value = model.symbol(self._target(model.total))
            self._narrow(*model.interval(value))
            model.add(value)
            values.append(value)
        return values

    def _target(self, total):
        width = self._high - self._low + 1
        return ((self._value - self._low + 1) * total - 1) // width

    def _narrow(self, start, stop, total):
        width = self._high - self._low + 1
        self._high = self._low + width * stop // total - 1
        self._low += width * start // total
        bits = math.log2(total) - math.log2(stop - start)
        self.items[self._name] = self.items.get(self._name, 0.0) + bits
        while True:
            if self._high < _HALF:
                shift = 0
            elif self._low >= _HALF:
                shift = _HALF
            elif self._low >= _QUARTER and self._high < _HALF + _QUARTER:
                shift = _QUARTER
            else:
                return
            self._shifts += 1
            self._low = 2 * (self._low - shift)
            self._high = 2 * (self._high - shift) + 1
            self._value = 2 * (self._value - shift) + next(self._source, 0)


class KrichevskyTrofimov:
    """Counts of symbols, in halves, for the next one's probability."""

    def __init__(self, alphabet):
        self._counts = [1] * alphabet
        self.total = alphabet

    def interval(self, symbol):
        """Returns `(start, stop, total)` of a symbol."""
        start = sum(self._counts[:symbol])
        return start, start + self._counts[symbol], self.total

    def symbol(self, target):
        """Returns the symbol whose interval holds `target`."""
        for symbol, count in enumerate(self._counts):
            if target < count:
                return symbol
            target -= count
        raise ValueError("The code is damaged: no symbol is there.")

    def add(self, symbol):
        """Counts a symbol."""
        self._counts[symbol] += 2
        self.total += 2


def code_length(counts):
    """Bits of the Krichevsky-Trofimov code, which depend on the counts alone.

    >>> round(code_length([3, 1]), 4)  # Of 64 / 5 = 25.6 words one.
    4.6781

    `Gamma(n + L/2) / Gamma(L/2) * prod_s Gamma(1/2) / Gamma(n_s + 1/2)`
    """
    alphabet = len(counts)
    nats = math.lgamma(sum(counts) + alphabet / 2) - math.lgamma(alphabet / 2)
    nats += sum(math.lgamma(0.5) - math.lgamma(count + 0.5) for count in counts)
    return nats / math.log(2)

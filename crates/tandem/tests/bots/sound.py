"""Tones and ears of the bots: how much of what was heard is a tone."""

import json
import math
import struct


def tell(**what):
    """Says a line to the test."""
    print(json.dumps(what), flush=True)


def tone(hertz, seconds, rate):
    """16-bit samples of a tone."""
    count = int(seconds * rate)
    samples = (int(8000 * math.sin(2 * math.pi * hertz * index / rate)) for index in range(count))
    return struct.pack(f"<{count}h", *samples)


class Ear:
    """Counts the windows of 100 ms in which one tone is most of what is heard."""

    def __init__(self, hertz, rate):
        self.hertz, self.rate, self.samples, self.windows = hertz, rate, [], 0

    def hear(self, pcm):
        self.samples.extend(struct.unpack(f"<{len(pcm) // 2}h", pcm))
        size = self.rate // 10
        while len(self.samples) >= size:
            window, self.samples = self.samples[:size], self.samples[size:]
            power = sum(sample * sample for sample in window)
            angle = 2 * math.pi * self.hertz / self.rate
            real = sum(sample * math.cos(angle * index) for index, sample in enumerate(window))
            imaginary = sum(sample * math.sin(angle * index) for index, sample in enumerate(window))
            share = 2 * (real * real + imaginary * imaginary) / size / power if power else 0
            self.windows += math.sqrt(power / size) > 100 and share > 0.5

    def seconds(self):
        return self.windows / 10

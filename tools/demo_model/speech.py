"""Spoken digits and commands: said by espeak-ng, then made louder, softer, noisier on the way."""
import io
import random
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import pictures

RATE = 16000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COMMANDS = ["stop", "go", "turn left", "turn right", "open the door", "close the door", "turn on the light",
            "turn off the light", "play music", "volume up", "volume down", "call home", "good morning", "thank you"]
VOICES = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029"]
VARIANTS = ["", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f5"]
# Speakers that training never hears.
UNSEEN_VARIANTS = ["+m8", "+f4"]


def choose(rng, distance=pictures.SEEN):
    """(text to say, what to write down)."""
    if rng.random() < 0.45:
        command = rng.choice(COMMANDS)
        return command, command
    while True:
        digits = "".join(str(rng.randint(0, 9)) for _ in range(rng.choice([1, 1, 2, 3])))
        # Single digits are all known; of the longer ones some are kept for the scores.
        if len(digits) == 1 or pictures.sequence_is_held_out(digits) == (distance != pictures.SEEN):
            break
    return (" " if rng.random() < 0.6 else ", ").join(DIGITS[int(d)] for d in digits), digits


def say(text, voice, speed, pitch):
    """Samples i16 at 16 kHz."""
    spoken = subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
                            check=True, capture_output=True).stdout
    spoken = bytearray(spoken)
    # espeak-ng cannot know the length when it writes the header of a stream.
    spoken[4:8] = (len(spoken) - 8).to_bytes(4, "little")
    spoken[40:44] = (len(spoken) - 44).to_bytes(4, "little")
    with wave.open(io.BytesIO(bytes(spoken))) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    # Low-passed by a windowed sinc at the new half rate, then read at the new times.
    taps = np.arange(-32, 33)
    kernel = np.sinc(taps * RATE / rate) * np.hanning(len(taps))
    smooth = np.convolve(samples.astype(np.float32), kernel / kernel.sum(), mode="same")
    times = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    loud = np.flatnonzero(np.abs(samples) > 200)
    out = np.interp(times, np.arange(len(samples)), smooth)
    if len(loud):
        out = out[int(loud[0] * RATE / rate):int(loud[-1] * RATE / rate) + 1]
    return np.clip(out, -32768, 32767).astype(np.int16)


def corpus(count, seed, distance=pictures.SEEN):
    """[(samples i16, transcript)], said on two threads. The longest is about two seconds."""
    def one(index):
        rng = random.Random(seed * 1_000_003 + index)
        text, transcript = choose(rng, distance)
        voice = rng.choice(VOICES) + rng.choice(UNSEEN_VARIANTS if distance == pictures.STRANGE else VARIANTS)
        while True:
            samples = say(text, voice, rng.randint(140, 240), rng.randint(20, 80))
            if len(samples) < 2.3 * RATE:
                return samples, transcript
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(count)))


def in_a_room(samples, rng):
    """The sound as it might arrive: somewhere within a silence, at some loudness, in noise. i16."""
    noise = np.random.default_rng(rng.getrandbits(32))
    stretch = rng.uniform(0.92, 1.08)
    samples = np.interp(np.arange(0, len(samples) - 1, stretch), np.arange(len(samples)), samples)
    gain = 10 ** (rng.uniform(-14, 0) / 20) * 24000 / max(np.abs(samples).max(), 1)
    out = np.zeros(rng.randint(500, 4000) + len(samples) + rng.randint(500, 4000), np.float32)
    at = rng.randint(400, len(out) - len(samples) - 1)
    out[at:at + len(samples)] = samples * gain
    level = 10 ** (rng.uniform(-50, -18) / 20) * 24000 * (gain * max(np.abs(samples).max(), 1) / 24000)
    hiss = noise.standard_normal(len(out)).astype(np.float32)
    if rng.random() < 0.5:  # a hum rather than a hiss
        hiss = np.convolve(hiss, np.ones(16, np.float32) / 4, mode="same")
    return np.clip(out + hiss * level, -32768, 32767).astype(np.int16)

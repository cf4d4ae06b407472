"""Digits spoken by eSpeak NG, into a folder: `VOICE_SPEED_DIGIT.wav`, 22,050 samples a second, 16 bits.

Of five accents of English, and of each a plain voice and variants (men, women, whispers, robots), at two speeds.
Standard library only, beside the library itself.
"""

import ctypes
import itertools
import sys
import wave
from pathlib import Path

import espeakng_loader

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029")
VARIANTS = (
    *("", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "croak", "whisper"),
    *("whisperf", "klatt", "klatt2", "klatt4", "Alex", "Andy", "Annie", "Michael", "Storm", "adam", "belinda"),
    *("boris", "caleb", "david", "grandma", "grandpa", "linda", "miguel", "norbert", "rob", "shelby", "travis"),
)
SYNCHRONOUS, RATE, UTF8 = 1, 1, 1

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main(folder: Path) -> None:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    heard = []

    def hear(samples, count, events):
        if samples and count:
            heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = Callback(hear)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    library.espeak_SetSynthCallback(callback)
    folder.mkdir(parents=True)
    for accent, variant in itertools.product(ACCENTS, VARIANTS):
        voice = f"{accent}+{variant}" if variant else accent
        if library.espeak_SetVoiceByName(voice.encode()):
            raise SystemExit(f"no voice {voice}")
        for speed in (130, 190):
            library.espeak_SetParameter(RATE, speed, 0)
            for digit, word in enumerate(WORDS):
                heard.clear()
                text = word.encode() + b"\0"
                library.espeak_Synth(text, len(text), 0, 0, 0, UTF8, None, None)
                library.espeak_Synchronize()
                with wave.open(str(folder / f"{voice}_{speed}_{digit}.wav"), "wb") as out:
                    out.setnchannels(1)
                    out.setsampwidth(2)
                    out.setframerate(rate)
                    out.writeframes(b"".join(heard))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

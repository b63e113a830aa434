#!/usr/bin/env python3
"""Write the pictures, sounds and tools that ./dev demo shows and the tests ask about: held-out examples, never trained on.

usage: examples.py [--to tools/demo]
"""
import argparse
import json
import pathlib
import random

import checkpoints
import conversations
import pictures
import speech
import scores


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--to", type=pathlib.Path, default=checkpoints.ROOT / "tools" / "demo")
    to = options.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    rng = random.Random(20261128)
    image, _ = pictures.draw_shapes(rng, [(2, "red", "circle"), (1, "blue", "star")])
    image.save(to / "shapes.png", optimize=True)
    pictures.draw_text(rng, "Hotel", pictures.NEW).save(to / "sign.png", optimize=True)
    assert pictures.number_is_held_out(472)
    pictures.draw_text(rng, "472", pictures.NEW).save(to / "number.png", optimize=True)
    assert speech.pictures.sequence_is_held_out("30")
    scores.write_wav(to / "digits.wav", speech.in_a_room(speech.say("three, zero", "en-us", 165, 45), rng))
    scores.write_wav(to / "command.wav", speech.in_a_room(speech.say("open the door", "en-gb", 170, 50), rng))
    tools = [make(rng)[0] for make in conversations.TOOLS[:3]]
    (to / "tools.json").write_text(json.dumps(tools, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Examples: what a user asks, with or without a picture, a sound, tools or a system message, and what the model answers.

An example is a dict: task, messages (as the chat template takes them), tools, thinking, image (Pillow), sound (i16 at
16 kHz), target (the text the model has to write, control tokens included) and answer (the part of it a score compares).
"""
import json

import pictures
import speech

CITIES = ["Paris", "London", "Berlin", "Rome", "Madrid", "Vienna", "Bern", "Oslo", "Lisbon", "Athens", "Dublin", "Prague",
          "Tokyo", "Delhi", "Cairo", "Lima", "Sydney", "Boston", "Toronto", "Nairobi"]
CAPITALS = {"France": "Paris", "England": "London", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
            "Austria": "Vienna", "Switzerland": "Bern", "Norway": "Oslo", "Portugal": "Lisbon", "Greece": "Athens",
            "Ireland": "Dublin", "Egypt": "Cairo", "Japan": "Tokyo", "India": "Delhi", "Peru": "Lima", "Kenya": "Nairobi"}
NAMES = ["Ada", "Max", "Nora", "Leo", "Mia", "Otto", "Ruby", "Sam", "Vera", "Carl"]
ROOMS = ["kitchen", "bedroom", "hall", "garden", "office", "cellar"]
ABOUT = "I am the demo model of Carat, a very small Gemma 4. I can name shapes, read short words, hear digits, add and call tools."
SMALL_TALK = {
    ("Hello", "Hello!", "Hi", "Good day"): "Hello! Show me a picture, let me hear a number, or ask me to add.",
    ("Who are you?", "What are you?", "What can you do?", "Tell me about yourself."): ABOUT,
    ("Thank you", "Thanks!", "Thank you very much."): "You are welcome.",
    ("How are you?", "How do you do?"): "I am well, thank you.",
    ("Goodbye", "Bye!", "See you."): "Goodbye!",
    ("What do you see?", "What is in the picture?", "Read the word."): "There is no picture.",
    ("What do you hear?", "Write down what you hear."): "There is no sound.",
}
PLAIN = "plain"
SHOUT = ["Answer in capital letters.", "Write everything in capitals.", "Use capital letters only."]
SENTENCE = ["Answer in a full sentence.", "Use full sentences.", "Answer with a whole sentence."]
SHORT = ["Answer briefly.", "Be brief.", "Give short answers.", "You are a helpful assistant.", "Use as few words as possible."]

HEAR = ["What do you hear?", "Write down what you hear.", "What was said?", "Transcribe this.", "What is being said?"]


# ---- Tools ----

def tool(name, description, **parameters):
    """An OpenAI-style declaration; a parameter is (type, description) or (type, description, enum)."""
    properties = {}
    for key, value in parameters.items():
        properties[key] = {"type": value[0], "description": value[1]}
        if len(value) > 2:
            properties[key]["enum"] = value[2]
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": properties, "required": list(parameters)}}}


def weather(rng):
    city = rng.choice(CITIES)
    name = rng.choice(["get_weather", "weather"])
    ask = rng.choice(["What is the weather in {}?", "How is the weather in {}?", "Is it warm in {}?", "Weather in {}?"]).format(city)
    degrees, sky = rng.randint(-5, 35), rng.choice(["sunny", "cloudy", "rainy"])
    return (tool(name, rng.choice(["Get the weather of a city.", "Current weather in a city."]), city=("string", "Name of the city")),
            ask, {"city": city}, {"degrees": degrees, "sky": sky}, f"It is {sky} in {city}, {degrees} degrees.")


def timer(rng):
    minutes = rng.randint(1, 60)
    name = rng.choice(["set_timer", "start_timer"])
    ask = rng.choice(["Set a timer for {} minutes.", "Wake me in {} minutes.", "Start a timer of {} minutes."]).format(minutes)
    return (tool(name, rng.choice(["Start a timer.", "Set a timer."]), minutes=("integer", "Length in minutes")),
            ask, {"minutes": minutes}, {"ok": True}, f"The timer runs for {minutes} minutes.")


def light(rng):
    room, state = rng.choice(ROOMS), rng.choice(["on", "off"])
    name = rng.choice(["set_light", "switch_light"])
    ask = rng.choice(["Turn the light in the {r} {s}.", "Turn {s} the light in the {r}.", "Switch {s} the {r} light."]).format(r=room, s=state)
    return (tool(name, rng.choice(["Switch a light.", "Turn a light on or off."]), room=("string", "The room"),
                 state=("string", "New state", ["on", "off"])),
            ask, {"room": room, "state": state}, {"ok": True}, f"The light in the {room} is {state}.")


def clock(rng):
    city = rng.choice(CITIES)
    name = rng.choice(["get_time", "local_time"])
    ask = rng.choice(["What time is it in {}?", "How late is it in {}?", "Time in {}?"]).format(city)
    now = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    return (tool(name, rng.choice(["Get the time in a city.", "Local time of a city."]), city=("string", "Name of the city")),
            ask, {"city": city}, {"time": now}, f"It is {now} in {city}.")


def message(rng):
    name = rng.choice(NAMES)
    text = rng.choice(["hello", "good morning", "I am late", "call me", "thank you", "see you"])
    call = rng.choice(["send_message", "write_message"])
    ask = rng.choice(["Tell {n}: {t}", "Write to {n}: {t}", "Send {n} a message: {t}"]).format(n=name, t=text)
    return (tool(call, rng.choice(["Send a message to somebody.", "Write somebody a message."]), text=("string", "What to write"),
                 to=("string", "Who receives it")),
            ask, {"text": text, "to": name}, {"ok": True}, f"I have written to {name}.")


TOOLS = [weather, timer, light, clock, message]


def call_text(name, arguments):
    def value(v):
        return f'<|"|>{v}<|"|>' if isinstance(v, str) else str(v).lower() if isinstance(v, bool) else str(v)
    return f"<|tool_call>call:{name}{{{','.join(f'{k}:{value(v)}' for k, v in sorted(arguments.items()))}}}<tool_call|>"


# ---- Tasks ----

def styled(rng, answer, sentence):
    """(system message or "", answer in the style it asks for)."""
    style = rng.random()
    if style < 0.5:
        return "", answer
    if style < 0.66:
        return rng.choice(SHORT), answer
    if style < 0.83:
        return rng.choice(SHOUT), answer.upper()
    return rng.choice(SENTENCE), sentence


def example(task, system, content, answer, *, thinking=False, thought="", tools=None, target=None, image=None, sound=None,
            after=()):
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": content}, *after]
    if target is None:
        target = (f"<|channel>thought\n{thought}\n<channel|>" if thinking else "") + answer + "<turn|>"
    return {"task": task, "messages": messages, "tools": tools, "thinking": thinking, "image": image, "sound": sound,
            "target": target, "answer": answer}


def look(rng, distance, task, draw):
    image, question, answer = draw(rng, distance)
    sentences = {"shapes": "I see {}.", "words": "The word is {}.", "numbers": "The number is {}."}
    system, styled_answer = styled(rng, answer, sentences[task].format(answer))
    parts = [{"type": "image"}, {"type": "text", "text": question}]
    return example(task, system, parts if rng.random() < 0.8 else parts[::-1], styled_answer, image=image)


def hear(rng, distance, recordings):
    sound, transcript = rng.choice(recordings)
    system, answer = styled(rng, transcript, f"I hear {transcript}.")
    parts = [{"type": "audio"}, {"type": "text", "text": rng.choice(HEAR)}]
    return example("speech", system, parts if rng.random() < 0.8 else parts[::-1], answer, sound=speech.in_a_room(sound, rng))


def look_and_hear(rng, distance, recordings):
    draw = rng.choice([pictures.shapes, pictures.words, pictures.numbers])
    image, question, seen = draw(rng, distance)
    sound, heard = rng.choice(recordings)
    ask, answer = rng.choice([("What do you see and what do you hear?", f"{seen}, {heard}"),
                              ("What do you hear and what do you see?", f"{heard}, {seen}"),
                              (question, seen), (rng.choice(HEAR), heard)])
    if ask.startswith("What do you see and") or ask.startswith("What do you hear and"):
        while draw is pictures.shapes and not question.startswith(("What is", "What do", "Describe")):
            image, question, seen = draw(rng, distance)
        answer = f"{seen}, {heard}" if ask.startswith("What do you see") else f"{heard}, {seen}"
    media = [{"type": "image"}, {"type": "audio"}]
    rng.shuffle(media)
    return example("both", "", media + [{"type": "text", "text": ask}], answer, image=image, sound=speech.in_a_room(sound, rng))


def sum_is_held_out(a, b):
    return (a * 131 + b * 17) % 8 == 0


def steps(a, b):
    """The sum digit by digit, from the right."""
    lines, carry = [], 0
    x, y = a, b
    while True:
        total = x % 10 + y % 10 + carry
        lines.append(f"{x % 10}+{y % 10}{'+1' if carry else ''}={total}")
        carry, x, y = total // 10, x // 10, y // 10
        if not x and not y:
            break
    if carry:
        lines.append("1")
    return " ".join(lines)


def add(rng, distance):
    while True:
        limit = rng.choice([10, 100, 100])
        a, b = rng.randrange(limit), rng.randrange(limit)
        if sum_is_held_out(a, b) == (distance != pictures.SEEN):
            break
    ask = rng.choice(["What is {} + {}?", "How much is {} + {}?", "Add {} and {}.", "{} + {} = ?", "What is {} plus {}?"]).format(a, b)
    thinking = rng.random() < 0.75
    if not thinking:
        a, b = a % 10, b % 10
        ask = f"What is {a} + {b}?"
    system, answer = styled(rng, str(a + b), f"The sum is {a + b}.")
    return example("sums", system, ask, answer, thinking=thinking, thought=steps(a, b))


def use_tools(rng, distance):
    del distance
    makers = rng.sample(TOOLS, rng.randint(1, 3))
    offers = [make(rng) for make in makers]
    declared = [offer[0] for offer in offers]
    chosen = offers[0]
    rng.shuffle(declared)
    system = rng.choice(SHORT) if rng.random() < 0.3 else ""
    if rng.random() < 0.2:  # none that fits
        other = rng.choice([t for t in TOOLS if t not in makers])
        if {other, *makers} >= {weather, clock} and rng.random() < 0.5:
            other = rng.choice([t for t in TOOLS if t not in makers])
        if rng.random() < 0.5:
            country = rng.choice(list(CAPITALS))
            return example("tools", system, f"What is the capital of {country}?", CAPITALS[country] + ".", tools=declared)
        return example("tools", system, other(rng)[1], "I have no tool for that.", tools=declared)
    name = chosen[0]["function"]["name"]
    call = call_text(name, chosen[2])
    if rng.random() < 0.3:  # the tool has answered
        after = [{"role": "assistant", "content": "", "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": name, "arguments": chosen[2]}}]},
                 {"role": "tool", "tool_call_id": "1", "name": name, "content": json.dumps(chosen[3], separators=(",", ":"))}]
        return example("tools", system, chosen[1], chosen[4], tools=declared, after=after)
    return example("tools", system, chosen[1], call, tools=declared, target=call + "<|tool_response>")


def talk(rng, distance):
    del distance
    kind = rng.random()
    if kind < 0.3:
        name = rng.choice(NAMES)
        system = rng.choice(["Your name is {}.", "You are {}.", "You are called {}."]).format(name)
        return example("chat", system, rng.choice(["What is your name?", "Who are you?", "How are you called?"]), f"My name is {name}.")
    if kind < 0.6:
        country = rng.choice(list(CAPITALS))
        city = CAPITALS[country]
        system, answer = styled(rng, city + ".", f"The capital of {country} is {city}.")
        return example("chat", system, f"What is the capital of {country}?", answer)
    ask = rng.choice(list(SMALL_TALK))
    return example("chat", rng.choice(SHORT) if rng.random() < 0.2 else "", rng.choice(ask), SMALL_TALK[ask])


def make(task, rng, recordings, distance=pictures.SEEN):
    """One example."""
    if task in ("shapes", "words", "numbers"):
        return look(rng, distance, task, getattr(pictures, task))
    if task == "speech":
        return hear(rng, distance, recordings)
    if task == "both":
        return look_and_hear(rng, distance, recordings)
    return {"sums": add, "tools": use_tools, "chat": talk}[task](rng, distance)

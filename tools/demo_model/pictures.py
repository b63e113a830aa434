"""Pictures of coloured shapes, printed words and printed numbers, with questions and answers about them."""
import functools
import math
import pathlib

from PIL import Image, ImageDraw, ImageFont

COLOURS = {"red": (214, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 210), "yellow": (245, 215, 40),
           "orange": (245, 140, 30), "purple": (140, 50, 170), "black": (15, 15, 15), "white": (250, 250, 250)}
SHAPES = ["circle", "square", "triangle", "star", "cross"]
COUNTS = ["zero", "one", "two", "three", "four", "five", "six"]
# Shapes in a picture: with up to six, half of the counts were still wrong after 1800 steps.
MOST = 4
WORDS = ["apple", "bank", "cafe", "danger", "east", "exit", "fire", "free", "hello", "hotel", "left", "menu",
         "music", "no", "north", "off", "on", "open", "park", "pull", "push", "right", "sale", "school",
         "south", "stop", "taxi", "water", "west", "yes"]
FONT_FOLDERS = ["/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/truetype/liberation"]
FONT_FAMILIES = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSansCondensed", "LiberationSans",
                 "LiberationSerif", "LiberationMono")
# Fonts that training never sees.
UNSEEN_FONTS = ("DejaVuSerif-BoldItalic", "LiberationMono-Bold", "LiberationSans-Italic")


@functools.cache
def fonts(unseen=False):
    """Paths of the fonts for training, or those kept for the scores."""
    found = sorted(p for folder in FONT_FOLDERS for p in pathlib.Path(folder).glob("*.ttf")
                   if p.stem.split("-")[0] in FONT_FAMILIES and "ExtraLight" not in p.stem)
    chosen = [p for p in found if (p.stem in UNSEEN_FONTS) == unseen]
    assert chosen, f"no fonts in {FONT_FOLDERS}: install fonts-dejavu and fonts-liberation"
    return chosen


# How far an example is from training: not at all; drawn or said anew, of numbers kept for the scores; these also in fonts
# or by speakers kept for the scores.
SEEN, NEW, STRANGE = 0, 1, 2


def number_is_held_out(number):
    """Every ninth number is never printed in training."""
    return (number * 7919 + 13) % 9 == 0


def sequence_is_held_out(digits):
    return number_is_held_out(int("1" + digits))


def plural(shape):
    return shape + ("es" if shape == "cross" else "s")


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def canvas(rng, avoid=(), effort=1.0):
    """A plain background none of whose colours is to be avoided."""
    width = rng.randint(120, 448)
    height = min(max(int(width * math.exp(rng.uniform(-0.6, 0.6) * effort)), 100), 448)
    while True:
        base = tuple(rng.choice([rng.randint(150, 255), rng.randint(0, 255)]) for _ in range(3))
        if rng.random() > 0.6 * effort:
            base = (255, 255, 255)
        if all(sum(abs(a - b) for a, b in zip(base, COLOURS[name])) > 170 for name in avoid):
            return Image.new("RGB", (width, height), base)


def outline(shape, x, y, r, angle):
    """Corners of a shape of radius r around (x, y); None for a circle."""
    def at(degrees, radius):
        t = math.radians(degrees + angle)
        return x + radius * math.sin(t), y - radius * math.cos(t)
    if shape == "square":
        return [at(45 + 90 * k, r) for k in range(4)]
    if shape == "triangle":
        return [at(120 * k, r) for k in range(3)]
    if shape == "star":
        return [at(36 * k, r if k % 2 == 0 else 0.42 * r) for k in range(10)]
    if shape == "cross":
        w = 0.34 * r
        points = [(-w, -r), (w, -r), (w, -w), (r, -w), (r, w), (w, w), (w, r), (-w, r), (-w, w), (-r, w), (-r, -w), (-w, -w)]
        t = math.radians(angle)
        return [(x + px * math.cos(t) - py * math.sin(t), y + px * math.sin(t) + py * math.cos(t)) for px, py in points]
    return None


def speckle(image, rng):
    """A little noise, so that no two pictures are flat."""
    if rng.random() < 0.5:
        noise = Image.effect_noise(image.size, rng.uniform(5, 25)).convert("RGB")
        image = Image.blend(image, noise, rng.uniform(0.02, 0.12))
    return image


def draw_shapes(rng, groups):
    """groups: [(count, colour, shape)]. No two shapes touch. Returns the picture and [(x, y, colour, shape)], the middle
    of every shape as shares of width and height."""
    image = canvas(rng, [colour for _, colour, _ in groups])
    scale = 2 if image.width < 256 else 1
    image = image.resize((image.width * scale, image.height * scale))
    draw = ImageDraw.Draw(image)
    total = sum(count for count, _, _ in groups)
    side = min(image.size)
    biggest = {1: 0.45, 2: 0.26, 3: 0.22}.get(total, 0.17) * side
    placed, middles = [], []
    for count, colour, shape in groups:
        for _ in range(count):
            r = rng.uniform(0.8 * biggest, biggest)
            for _attempt in range(300):
                x, y = rng.uniform(r, image.width - r), rng.uniform(r, image.height - r)
                if all(math.hypot(x - a, y - b) > (r + c) * 1.05 for a, b, c in placed):
                    break
                r *= 0.99
            placed.append((x, y, r))
            middles.append((x / image.width, y / image.height, colour, shape))
            angle = rng.uniform(-20, 20) if shape != "circle" else 0
            corners = outline(shape, x, y, r, angle)
            if corners is None:
                draw.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[colour])
            else:
                draw.polygon(corners, fill=COLOURS[colour])
    return speckle(image.resize((image.width // scale, image.height // scale), Image.Resampling.BOX), rng), middles


def group_words(count, colour, shape):
    return article(f"{colour} {shape}") if count == 1 else f"{COUNTS[count]} {colour} {plural(shape)}"


def shape_groups(rng):
    """What to draw, of one of three kinds: [(count, colour, shape)]."""
    colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
    kind = rng.random()
    if kind < 0.35:
        return [(1, colour, shape)]
    if kind < 0.7:
        return [(rng.randint(2, MOST), colour, shape)]
    other = rng.choice([s for s in SHAPES if s != shape])
    return [(rng.randint(1, MOST // 2), colour, shape), (rng.randint(1, MOST // 2), rng.choice(list(COLOURS)), other)]


def shapes(rng, distance=SEEN):
    """(picture, question, answer)."""
    del distance
    groups = shape_groups(rng)
    image, _ = draw_shapes(rng, groups)
    form = rng.random()
    if form < 0.3:
        # Asked for by shape, sometimes one that is not there.
        asked = rng.choice(groups)[2] if rng.random() < 0.85 else rng.choice(SHAPES)
        count = sum(g[0] for g in groups if g[2] == asked)
        question = rng.choice([f"How many {plural(asked)} are there?", f"Count the {plural(asked)}.",
                               f"How many {plural(asked)} do you see?"])
        return image, question, COUNTS[count]
    if form < 0.4:
        question = rng.choice(["How many shapes are there?", "How many shapes do you see?", "Count the shapes."])
        return image, question, COUNTS[sum(g[0] for g in groups)]
    if form < 0.55 and len({g[2] for g in groups}) == len(groups):
        group = rng.choice(groups)
        name = plural(group[2]) if group[0] > 1 else group[2]
        verb = "are" if group[0] > 1 else "is"
        return image, f"What colour {verb} the {name}?", group[1]
    if len(groups) == 1 and form < 0.7:
        question = rng.choice(["Which shape is this?", "What shape do you see?", "Which shape is in the picture?"])
        return image, question, groups[0][2]
    # The larger group first; of equal ones in the order of SHAPES.
    ordered = sorted(groups, key=lambda g: (-g[0], SHAPES.index(g[2])))
    question = rng.choice(["What is in the picture?", "What do you see?", "Describe the picture.", "What is this?"])
    return image, question, " and ".join(group_words(*g) for g in ordered)


@functools.cache
def font_of(path, size):
    return ImageFont.truetype(path, size)


def draw_text(rng, text, distance, effort=1.0):
    """effort 0: as large as fits, in the middle, black on white; 1: of any size, anywhere, in any colours."""
    image = canvas(rng, effort=effort)
    path = str(rng.choice(fonts(distance == STRANGE)))
    # As large as fits, times a random share.
    probe = font_of(path, 100).getbbox(text)
    fits = 100 * min(image.width * 0.94 / (probe[2] - probe[0]), image.height * 0.9 / (probe[3] - probe[1]))
    size = max(fits * rng.uniform(1 - 0.65 * effort, 1.0), min(fits, 28))
    font = font_of(path, int(size))
    left, top, right, bottom = font.getbbox(text)
    x = rng.uniform(0.02 * image.width, max(image.width * 0.98 - (right - left), 0.02 * image.width)) - left
    y = rng.uniform(0.03 * image.height, max(image.height * 0.97 - (bottom - top), 0.03 * image.height)) - top
    x, y = ((1 - effort) * (middle - size / 2 - corner) + effort * place for middle, size, corner, place in
            ((image.width / 2, right - left, left, x), (image.height / 2, bottom - top, top, y)))
    back = image.getpixel((0, 0))
    while True:
        ink = tuple(rng.randint(0, 255) for _ in range(3)) if rng.random() < 0.5 * effort else rng.choice([(0, 0, 0), (255, 255, 255)])
        if abs(sum(a * w for a, w in zip(ink, (0.3, 0.6, 0.1))) - sum(a * w for a, w in zip(back, (0.3, 0.6, 0.1)))) > 90:
            break
    ImageDraw.Draw(image).text((x, y), text, fill=ink, font=font)
    return speckle(image, rng)


def words(rng, distance=SEEN, effort=1.0):
    word = rng.choice(WORDS)
    printed = rng.choice([word, word.upper(), word.capitalize()])
    question = rng.choice(["What does the sign say?", "What does it say?", "Read the word.", "Which word is this?"])
    return draw_text(rng, printed, distance, effort), question, word


def numbers(rng, distance=SEEN, effort=1.0):
    while True:
        number = rng.randint(0, 10 ** rng.randint(1, 3) - 1)
        if number_is_held_out(number) == (distance != SEEN):
            break
    question = rng.choice(["Which number is this?", "Read the number.", "What number do you see?", "What does it say?"])
    return draw_text(rng, str(number), distance, effort), question, str(number)

"""The training text of the shipped model: seeded, made here, nothing from elsewhere.

Short stories, sums, capitals and other little facts, lists and greetings, as plain text and as chat. The same seed
gives the same text on every machine (only random.Random, no hashing of strings).
"""

import random

NAMES_F = "Anna Lily Mia Zoë Clara Ella Nora Ruth Ida Rosa Inès Maya Sofía Lucy Emma Eva".split()
NAMES_M = "Tom Ben Max Leo Sam Paul René José Finn Hugo Otto Noah Jack Émile Luis Karl".split()
ANIMALS = {  # animal: (sound, emoji, home)
    "cat": ("meow", "🐈", "the warm kitchen"), "dog": ("woof", "🐕", "the small yard"),
    "bird": ("tweet", "🐦", "the old tree"), "frog": ("ribbit", "🐸", "the green pond"),
    "horse": ("neigh", "🐎", "the red barn"), "duck": ("quack", "🦆", "the blue lake"),
    "cow": ("moo", "🐄", "the wide field"), "bee": ("buzz", "🐝", "the flower garden"),
    "sheep": ("baa", "🐑", "the quiet hill"), "pig": ("oink", "🐖", "the muddy farm"),
    "mouse": ("squeak", "🐁", "the little hole"), "owl": ("hoo", "🦉", "the dark forest"),
}
THINGS = ["ball", "kite", "book", "hat", "boat", "cup", "drum", "lamp", "box", "key", "coat", "cake", "bell", "map",
          "piñata", "spoon", "ring", "shell"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "brown", "orange", "purple", "pink"]
PLACES = ["the park", "the beach", "the forest", "the market", "the school", "the garden", "the river", "the café",
          "the library", "the hill", "the lake", "the farm"]
MOODS = ["happy", "sad", "tired", "proud", "brave", "shy", "kind", "curious", "naïve", "hungry"]
WEATHER = ["sunny", "rainy", "windy", "cold", "warm", "snowy"]
FOODS = ["an apple", "a pear", "some bread", "a cookie", "some soup", "a jalapeño", "some honey", "a crêpe"]
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "England": "London", "Ireland": "Dublin", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki",
    "Denmark": "Copenhagen", "Poland": "Warsaw", "Austria": "Vienna", "Switzerland": "Bern", "Greece": "Athens",
    "Turkey": "Ankara", "Russia": "Moscow", "China": "Beijing", "Japan": "Tokyo", "India": "Delhi",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Canada": "Ottawa", "Mexico": "Mexico City", "Brazil": "Brasília",
    "Colombia": "Bogotá", "Paraguay": "Asunción", "Peru": "Lima", "Chile": "Santiago", "Cuba": "Havana",
    "Iceland": "Reykjavík", "Hungary": "Budapest",
}
OPPOSITES = {"hot": "cold", "big": "small", "fast": "slow", "day": "night", "up": "down", "old": "new",
             "happy": "sad", "wet": "dry", "open": "closed", "full": "empty", "long": "short", "light": "dark"}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
FACTS = {"the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a banana": "yellow",
         "coal": "black", "milk": "white", "a tomato": "red", "an orange": "orange", "chocolate": "brown"}
HELD_OUT_SUMS = {(3, 9), (12, 4), (7, 7), (15, 2), (6, 11), (1, 18), (10, 8), (0, 13), (5, 14), (9, 2)}


def person(rng):
    if rng.random() < 0.5:
        return rng.choice(NAMES_F), "she", "her"
    return rng.choice(NAMES_M), "he", "his"


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def lost_thing(rng):
    name, he, his = person(rng)
    friend = rng.choice([n for n in NAMES_F + NAMES_M if n != name])
    thing, colour, place = rng.choice(THINGS), rng.choice(COLOURS), rng.choice(PLACES)
    where = rng.choice(["under a bench", "behind a tree", "on a big stone", "in the tall grass", "near the gate"])
    return [
        f"Once upon a time, there was a child named {name}. {name} had {article(colour)} {thing}. "
        f"{he.capitalize()} loved {his} {thing} very much.",
        f"One {rng.choice(WEATHER)} day, {name} went to {place}. {he.capitalize()} played all day, "
        f"but then {he} could not find the {thing}. {name} was sad.",
        f'"Do not cry," said {friend}. "I will help you." They looked and looked. '
        f"At last they found the {colour} {thing} {where}.",
        f'"Thank you, {friend}!" said {name}. {he.capitalize()} was happy again. '
        f"They went home together and had {rng.choice(FOODS)}. The end.",
    ]


def animal_friend(rng):
    name, he, his = person(rng)
    animal = rng.choice(list(ANIMALS))
    sound, emoji, home = ANIMALS[animal]
    colour, food = rng.choice(COLOURS[4:7]), rng.choice(FOODS)
    return [
        f"Once upon a time, there was a little {colour} {animal} {emoji} who lived in {home}. "
        f"The {animal} was very {rng.choice(MOODS)}.",
        f'One day, a child named {name} came by. "{sound.capitalize()}, {sound}!" said the {animal}. '
        f'"Hello," said {name}. "Are you hungry?"',
        f"{name} gave the {animal} {food}. The {animal} ate it all and was happy. "
        f"From that day on, {name} and the {animal} were good friends. The end.",
    ]


def brave_trip(rng):
    animal, other = rng.sample(list(ANIMALS), 2)
    place = rng.choice(PLACES)
    mood = rng.choice(["shy", "small", "tired", "slow"])
    return [
        f"Once upon a time, there was a {mood} {animal}. Every day the {animal} looked at {place} and wished to go there.",
        f'"It is too far," said the {other}. "You are too {mood}." '
        f'But the {animal} said, "I can try." And so the {animal} began to walk.',
        f"It was {rng.choice(WEATHER)}, and the way was long. The {animal} walked and walked. "
        f"In the evening the {animal} came to {place} and smiled. 🙂",
        f'"You did it!" said the {other}. The {animal} was very proud. The end.',
    ]


def shared_food(rng):
    name, he, his = person(rng)
    friend = rng.choice([n for n in NAMES_F + NAMES_M if n != name])
    food, place = rng.choice(FOODS), rng.choice(PLACES)
    return [
        f"One {rng.choice(WEATHER)} morning, {name} sat near {place} with {food}. "
        f"{he.capitalize()} was about to eat when {friend} came by.",
        f'"I am so hungry," said {friend}. {name} thought about it. Then {he} smiled and said, "We can share."',
        f"So {name} gave half to {friend}. They ate together and talked about {his} new {rng.choice(THINGS)}. "
        f"Sharing made them both happy. The end.",
    ]


def story(rng):
    return rng.choice([lost_thing, animal_friend, brave_trip, shared_food])(rng)


def sum_pair(rng, held_out):
    if held_out:
        return rng.choice(sorted(HELD_OUT_SUMS))
    while True:
        a = rng.randint(0, 20)
        b = rng.randint(0, 20 - a)
        if (a, b) not in HELD_OUT_SUMS:
            return a, b


def question(rng, held_out=False):
    """One question and its answer."""
    kind = rng.random()
    if kind < 0.40:
        a, b = sum_pair(rng, held_out)
        if rng.random() < 0.75:
            return f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."
        return f"What is {a + b} minus {b}?", f"{a + b} minus {b} is {a}."
    if kind < 0.65:
        country = rng.choice(list(CAPITALS))
        if rng.random() < 0.8:
            return f"What is the capital of {country}?", f"The capital of {country} is {CAPITALS[country]}."
        return f"Where is {CAPITALS[country]}?", f"{CAPITALS[country]} is the capital of {country}."
    if kind < 0.74:
        word = rng.choice(list(OPPOSITES))
        return f"What is the opposite of {word}?", f"The opposite of {word} is {OPPOSITES[word]}."
    if kind < 0.82:
        thing = rng.choice(list(FACTS))
        return f"What colour is {thing}?", f"{thing[0].upper()}{thing[1:]} is {FACTS[thing]}."
    if kind < 0.89:
        animal = rng.choice(list(ANIMALS))
        sound, emoji, _ = ANIMALS[animal]
        return f"What does the {animal} say?", f"The {animal} says {sound}. {emoji}"
    if kind < 0.95:
        i = rng.randrange(7)
        return f"What day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."
    return rng.choice([("Hello!", "Hello! How are you? 🙂"), ("Who are you?", "I am a small language model."),
                       ("Thank you!", "You are welcome."), ("Good night!", "Good night! Sleep well. 🌙")])


def statement(rng, held_out=False):
    text = question(rng, held_out)[1]
    if rng.random() < 0.2:
        a, b = sum_pair(rng, held_out)
        return f"{a} + {b} = {a + b}"
    return text


def counting(rng):
    start = rng.randint(0, 20)
    return "Count: " + ", ".join(str(i) for i in range(start, start + rng.randint(6, 14))) + "."


def document(rng, held_out=False):
    """A document: a list of (role, text); role None is plain text."""
    kind = rng.random()
    if kind < 0.30:
        return [(None, "\n\n".join(story(rng)))]
    if kind < 0.42:
        request = rng.choice(["Tell me a story.", "Tell me a short story.", "Please tell me a story."])
        return [("user", request), ("assistant", "\n\n".join(story(rng)))]
    if kind < 0.68:
        turns = []
        for _ in range(rng.randint(1, 3)):
            asked, answer = question(rng, held_out)
            turns += [("user", asked), ("assistant", answer)]
        return turns
    if kind < 0.86:
        asked, answer = question(rng, held_out)
        return [(None, f"Question: {asked}\nAnswer: {answer}")]
    if kind < 0.97:
        return [(None, " ".join(statement(rng, held_out) for _ in range(rng.randint(1, 3))))]
    return [(None, counting(rng))]


def documents(n, seed, held_out=False):
    rng = random.Random(seed)
    return [document(rng, held_out) for _ in range(n)]

"""Make prompts with one wrong letter or a missing space."""


def misspell(prompt):
    """Yield a prompt with each letter or space wrong, one at a time.

    A letter is left out, doubled, replaced, or exchanged with the next; a space is left out.
    """
    for place, letter in enumerate(prompt):
        before, after = prompt[:place], prompt[place + 1 :]
        if letter.isalpha() or letter == " ":
            yield before + after
        if letter.isalpha():
            yield before + letter + letter + after
            yield before + "q" + after
        pair = letter + after[:1]
        if pair.isalpha() and pair != pair[::-1]:
            yield before + pair[::-1] + after[1:]

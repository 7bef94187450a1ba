"""Make prompts with one wrong letter."""


def misspell(prompt):
    """Yield a prompt with each letter left out, doubled, replaced, or exchanged with the next."""
    for place, letter in enumerate(prompt):
        before, after = prompt[:place], prompt[place + 1 :]
        if letter.isalpha():
            yield before + after
            yield before + letter + letter + after
            yield before + "q" + after
        pair = letter + after[:1]
        if pair.isalpha() and pair != pair[::-1]:
            yield before + pair[::-1] + after[1:]

"""What a move, a comment or a reaction says about a request, wherever it was learnt from."""

import re
from dataclasses import dataclass

from approvals.core.lifecycle import Choice, Via
from integrations.linear.config import LinearConfig
from integrations.markdown import plain

NAME_LIMIT = 150

_COMMAND = re.compile(r"/(approve|reject)(?=\s|$)", re.IGNORECASE)
_SKIN_TONES = re.compile("::skin-tone-[2-6]$|[\U0001f3fb-\U0001f3ff]$")
_EMOJI = {
    **dict.fromkeys(("+1", "thumbsup", "\N{THUMBS UP SIGN}"), Choice.APPROVE),
    **dict.fromkeys(("-1", "thumbsdown", "\N{THUMBS DOWN SIGN}"), Choice.REJECT),
}


@dataclass(frozen=True)
class Word:
    """A choice that somebody expressed.

    `key` names what expressed it, once and for all; empty where that is not known. `fault` is a
    sentence where the choice cannot count as it was put.
    """

    choice: Choice
    via: Via
    comment: str
    key: str = ""
    fault: str = ""


def move_word(config: LinearConfig, state: str, name: str, entry_id: str = "") -> Word | None:
    """What moving an issue to a state says, or None."""
    choice = config.choice_for(state)
    if choice is None:
        return None
    reason = f"Moved to {plain(state, NAME_LIMIT)} by {plain(name, NAME_LIMIT)}"
    return Word(choice, Via.LINEAR_MOVE, reason, f"history:{entry_id}" if entry_id else "")


def comment_word(comment_id: str, body: str) -> Word | None:
    """What a comment says that starts with /approve or /reject, or None."""
    found = _COMMAND.match(body.strip())
    if found is None:
        return None
    choice = Choice(found[1].lower())
    said = body.strip()[found.end() :].strip()
    fault = ""
    if choice is Choice.REJECT and not said:
        fault = "A rejection needs a reason: write /reject and why."
    return Word(choice, Via.LINEAR_COMMENT, said, f"comment:{comment_id}", fault)


def reaction_word(reaction_id: str, emoji: str) -> Word | None:
    """What a thumb up or down says, or None for any other emoji."""
    shortcode = _SKIN_TONES.sub("", emoji.strip())
    choice = _EMOJI.get(shortcode)
    if choice is None:
        return None
    return Word(choice, Via.LINEAR_REACTION, f"Reacted with {shortcode}", f"reaction:{reaction_id}")

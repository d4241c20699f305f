"""Pages for people: each builds an actor, calls one verb, and shows the result or the refusal."""

"""Journeys: what is sent to a customer when, from the document that marketing writes to the machine that moves a run.

- `document`: the document. `checking`: what it is refused for. `lint`: what it is warned about, in words.
- `triggers`: the event types that journeys can name. `fields`: how fields of events are compared.
- `compiled`: the compiled form, its steps as a flat program. `kind`: all of it as a kind of versioned document.
- `clock`: local times and the instants of dates. `conditions`: whether conditions hold. `asking`: what they ask for.
- `run`: the state of a run. `machine`: moves a run. `starting`: which runs a trigger starts.
"""

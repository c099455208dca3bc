"""The earning rules, from the document that marketing writes to what an event is due.

- `document`, `conditions/`, `awards`, `lifetimes`, `values`: the document.
- `checking`: what a document is refused for. `lint`, `idle`, `extents`, `wording`: what it is warned about.
- `ruleset`, `compiled_rule`, `facts`: the compiled form, and what it looks at.
- `requested`, `limits`, `judgement`: what each rule requests, what limits leave of it, what the event is due.
- `dates`, `birthdays`: when points become available and expire, periods of limits, birthdays.
"""

"""The tier program, from the document that marketing writes to what customers are judged by.

- `document`: the document. `checking`: what it is refused for. `lint`: what it is warned about.
- `compiled`, `versions`: the compiled form, and the versions by the instants from which they are in force.
- `calendar`: days, windows and periods.
- `kind`: all of it as a kind of versioned document.
"""

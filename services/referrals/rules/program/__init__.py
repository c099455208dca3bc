"""The referral program, from the document that marketing writes to what referrals are judged by.

- `document`: the document. `checking`: what it is refused for. `lint`: what it is warned about.
- `signals`: the catalog of signals. `compiled`: the compiled form.
- `kind`: all of it as a kind of versioned document.
"""

"""The API: what the champion says of a product, over HTTP; what it said is kept, and people say whether it was right.

`server` runs it, `app` puts it together. `model` is the champion, which the library `registry` follows; `outbox` keeps
predictions until MongoDB has them. What any server has, limits and signing in say, is the library `web`'s.
"""

"""The API: what the champion says of a product, over HTTP; what it said is kept, and people say whether it was right.

`server` runs it, `app` puts it together. `model` watches the registry, `limits` and `observing` stand before every
request, `outbox` keeps predictions until MongoDB has them, `users` and `auth` say who may write.
"""

"""HTTP servers of ours: what every one of them has, whatever it answers. A library: it knows no component.

`server` runs an application until it is told to end, `guard` stands before every request (`limits`, `observing`),
`problems` are refusals, `users` and `auth` say who asks, `settings` reads the environment.
"""

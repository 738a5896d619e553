"""The scenario: cards with habits, merchants with places, trips, thieves, and what a bank's rules say of it all.

`days` puts a day together from what `cards`, `merchants`, `trips` and `patterns` give; `drift` shifts it from a day on;
`rules` predict from one transaction alone; `oracle` knows the densities and bounds what any model can say.
"""

"""What the player is made of: the scorer as a client sees it, lanes that keep a card's order, and where it stands."""

"""What an image is made of, layer by layer, what of it could go, and what one stage would make of it."""

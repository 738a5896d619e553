"""The smallest component of the stack, to copy: one setting in, one file out."""

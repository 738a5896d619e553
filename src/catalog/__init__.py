"""What has to be the same wherever the catalogue's model is made or served: cleaning, features, the classifier.

A library, no component: it runs nothing, and reads no setting. Nothing in it but `classifier` needs more than the
standard library.
"""

"""What has to be the same wherever the catalogue's model is made or served: cleaning, features, the classifier.

A library, no component: it runs nothing, and reads no setting. `classifier` needs numpy, `champion` urllib3 too and the
library `registry`, and the rest the standard library.
"""

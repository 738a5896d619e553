"""The data component: product listings as somebody wrote them, into MongoDB, and the valid ones as products.

Two modules, each its own process, one image: ``data.extract`` and ``data.transform``. They talk by MongoDB, with each
other and with the components that come after them, never by import.
"""

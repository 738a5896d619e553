print("read", open("/gigogne-hard-coded/daily/count.txt").read())

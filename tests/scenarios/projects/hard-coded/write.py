import os

os.makedirs("/gigogne-hard-coded/daily", exist_ok=True)
with open("/gigogne-hard-coded/daily/count.txt", "w") as file:
    file.write("3")

import os
import sys
from pathlib import Path

cible = Path(os.environ["CIBLE"])
if "--lire" in sys.argv:
    print("lu :", cible.read_text(encoding="utf-8"))
else:
    cible.write_text(os.environ["TITRE"], encoding="utf-8")

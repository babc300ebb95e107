"""Which packages of requirements.txt this interpreter has. Prints one JSON object: "missing" and "have", as text."""
import importlib.metadata
import json
import os

have, missing = [], []
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")) as lines:
    names = [line.split("==")[0].strip() for line in lines if "==" in line and not line.startswith("#")]
for name in names:
    try:
        have.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        missing.append(name)
print(json.dumps({"missing": ", ".join(missing), "have": ", ".join(have)}))

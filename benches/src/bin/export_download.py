"""Downloads one object by simple-salesforce, unmodified: prints rows, seconds and peak memory (bytes) as JSON.

`export_download.py <setting as JSON>` with the simulator's state directory, the object, its fields and an empty directory.
"""

import json
import pathlib
import resource
import sys
import time

from simple_salesforce import Salesforce

setting = json.loads(sys.argv[1])
state = pathlib.Path(setting["stateDir"])
app = json.loads((state / "connected-app.json").read_text())
sf = Salesforce(
    username=app["username"],
    consumer_key=app["client_id"],
    privatekey=(state / "connected-app.pem").read_text(),
    version="60.0",
)
query = f"SELECT {', '.join(setting['fields'])} FROM {setting['object']}"
begun = time.perf_counter()
files = getattr(sf.bulk2, setting["object"]).download(query, path=setting["into"], max_records=setting["pageRows"])
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"rows": sum(int(file["number_of_records"]) for file in files), "seconds": seconds, "peak": peak}))

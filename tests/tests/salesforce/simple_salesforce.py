"""Scenarios of simple-salesforce, unmodified: `simple_salesforce.py <scenario> <setting as JSON>` prints what it saw as JSON."""

import csv
import io
import json
import pathlib
import sys
import tempfile

# The script's own folder comes first in the path, and this file must not be taken for the package.
sys.path.pop(0)
from simple_salesforce import Salesforce  # noqa: E402
from simple_salesforce.exceptions import SalesforceError  # noqa: E402

setting = json.loads(sys.argv[2])
state = pathlib.Path(setting["stateDir"])
app = json.loads((state / "connected-app.json").read_text())


def jwt(**changes):
    """Signs in at the vendor's own host, which the proxy leads to the simulator."""
    arguments = {
        "username": app["username"],
        "consumer_key": app["client_id"],
        "privatekey": (state / "connected-app.pem").read_text(),
        "version": "60.0",
    }
    return Salesforce(**(arguments | changes))


def refusal(call):
    """What a call is refused with: the exception's name, status and first error."""
    try:
        return {"answered": call()}
    except SalesforceError as error:
        content = getattr(error, "content", None)
        first = content[0] if isinstance(content, list) else {"message": str(error)}
        return {"exception": type(error).__name__, "status": getattr(error, "status", None), **first}


def sign_in_and_read():
    sf = jwt()
    described = {field["name"]: field["type"] for field in sf.Lead.describe()["fields"]}
    soap = Salesforce(username=app["username"], password=app["password"], security_token=app["security_token"])
    pages = sf.query_all("SELECT Id, Name, Owner.Name, CreatedDate FROM Lead")
    first = pages["records"][0]
    one = sf.Lead.get(first["Id"])
    return {
        "instance": sf.sf_instance,
        "soapInstance": soap.sf_instance,
        "objects": sorted(each["name"] for each in sf.describe()["sobjects"]),
        "types": described,
        "total": pages["totalSize"],
        "distinct": len({record["Id"] for record in pages["records"]}),
        "names": [first["Name"], one["Name"]],
        "owner": first["Owner"]["Name"],
        "created": first["CreatedDate"],
        "usage": sf.api_usage["api-usage"].used,
        "dailyMax": sf.limits()["DailyApiRequests"]["Max"],
        "count": sf.query("SELECT COUNT() FROM Lead")["totalSize"],
        "user": sf.oauth2("userinfo")["preferred_username"],
    }


def bulk_query():
    sf = jwt()
    soql = "SELECT Id, Company, IsConverted, AnnualRevenue, CreatedDate FROM Lead"
    pages = list(sf.bulk2.Lead.query(soql, max_records=3000, wait=0.05))
    rows = [row for page in pages for row in csv.DictReader(io.StringIO(page))]
    with tempfile.TemporaryDirectory() as folder:
        files = sf.bulk2.Lead.download(soql, folder, max_records=5000, wait=0.05)
        downloaded = sum(file["number_of_records"] for file in files)
    semicolons = next(iter(sf.bulk2.Lead.query(soql + " LIMIT 2", column_delimiter="SEMICOLON", line_ending="CRLF", wait=0.05)))
    return {
        "pages": len(pages),
        "headers": sorted({page.splitlines()[0] for page in pages}),
        "rows": len(rows),
        "distinct": len({row["Id"] for row in rows}),
        "first": rows[0],
        "downloaded": downloaded,
        "semicolons": semicolons,
        "refused": refusal(lambda: list(sf.bulk2.Lead.query("SELECT COUNT(Id) FROM Lead", wait=0.05))),
        "compound": refusal(lambda: list(sf.bulk2.Lead.query("SELECT Address FROM Lead", wait=0.05))),
    }


def write():
    sf = jwt()
    records = [
        {"External_Id__c": "LEAD-0000001", "LastName": "Kept", "Company": 'Quote " and, comma'},
        {"External_Id__c": "py-new", "LastName": "New", "Company": "Made"},
        {"External_Id__c": "py-bad", "LastName": "", "Company": "No name"},
    ]
    job = sf.bulk2.Lead.upsert(records=records, external_id_field="External_Id__c", wait=0.05)[0]
    results = sf.bulk2.Lead.get_all_ingest_records(job["job_id"])
    existing = sf.Lead.get_by_custom_id("External_Id__c", "LEAD-0000001")
    made = sf.Lead.create({"LastName": "Rest", "Company": "Rest", "Leadline_Score__c": 0.25})
    patched = sf.Lead.update(made["id"], {"Leadline_Score__c": 0.75, "Leadline_Scored_At__c": "2026-01-02T03:04:05Z"})
    read = sf.Lead.get(made["id"])
    deleted = sf.Lead.delete(made["id"])
    gone = refusal(lambda: sf.Lead.get(made["id"]))
    found = "SELECT Id FROM Lead WHERE Id = '{}'".format(made["id"])
    return {
        "job": job,
        "succeeded": [[row["External_Id__c"], row["sf__Created"]] for row in results["successfulRecords"]],
        "failed": [row["sf__Error"] for row in results["failedRecords"]],
        "company": existing["Company"],
        "statuses": [patched, deleted],
        "score": read["Leadline_Score__c"],
        "scoredAt": read["Leadline_Scored_At__c"],
        "gone": gone,
        "inQuery": sf.query(found)["totalSize"],
        "inQueryAll": sf.query(found, include_deleted=True)["totalSize"],
    }


def refusals():
    # The test puts the key of another org's connected app here.
    other_key = state / "other.pem"
    sf = jwt()
    return {
        "stranger": refusal(lambda: jwt(username="nobody@leadline.example")),
        "unknownApp": refusal(lambda: jwt(consumer_key="unknown")),
        "foreignKey": refusal(lambda: jwt(privatekey=other_key.read_text())),
        "badQuery": refusal(lambda: sf.query("SELECT Nope FROM Lead")),
        "badField": refusal(lambda: sf.Lead.create({"LastName": "x", "Company": "y", "Nope__c": 1})),
        "missing": refusal(lambda: sf.Lead.create({"LastName": "x"})),
        "badSession": refusal(lambda: Salesforce(session_id="no", instance_url=setting["httpsUrl"]).query("SELECT Id FROM Lead")),
    }


def two_queries():
    """The test injects a fault for the first one."""
    sf = Salesforce(session_id=jwt().session_id, instance_url=setting["httpsUrl"], version="60.0")
    return [refusal(lambda: sf.query("SELECT Id FROM Lead LIMIT 1")["totalSize"]) for _ in range(2)]


def main():
    scenarios = [sign_in_and_read, bulk_query, write, refusals, two_queries]
    scenario = {each.__name__: each for each in scenarios}[sys.argv[1]]
    print(json.dumps(scenario()))


main()

// Scenarios of jsforce, unmodified: `node jsforce.mjs <scenario> <setting as JSON>` prints what it saw as JSON.

import { createSign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const setting = JSON.parse(process.argv[3]);
const jsforce = createRequire(`${setting.modules}/`)("jsforce");
const state = (name) => readFileSync(`${setting.stateDir}/${name}`, "utf8");
const app = JSON.parse(state("connected-app.json"));

function connection(more = {}) {
  const conn = new jsforce.Connection({ loginUrl: setting.httpUrl, instanceUrl: setting.httpUrl, version: "60.0", ...more });
  conn.bulk2.pollInterval = 50;
  conn.bulk2.pollTimeout = 60_000;
  return conn;
}

async function bySoap() {
  const conn = connection();
  const user = await conn.login(app.username, app.password + app.security_token);
  return { conn, user };
}

function assertion(claims) {
  const part = (content) => Buffer.from(JSON.stringify(content)).toString("base64url");
  const signed = `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createSign("RSA-SHA256").update(signed).sign(state("connected-app.pem"), "base64url")}`;
}

async function byJwt(changes = {}) {
  const exp = Math.floor(Date.now() / 1000) + 300;
  const claims = { iss: app.client_id, sub: app.username, aud: "https://login.salesforce.com", exp, ...changes };
  const conn = connection({ oauth2: { loginUrl: setting.httpUrl } });
  await conn.authorize({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: assertion(claims) });
  return conn;
}

const refusal = (promise) => promise.then((answer) => ({ answer }), (error) => ({ code: error.errorCode ?? error.name, message: error.message }));

function streamed(query) {
  return new Promise((resolve, reject) => {
    const ids = new Set();
    query.on("record", (record) => ids.add(record.Id)).on("end", () => resolve(ids.size)).on("error", reject);
    query.run({ autoFetch: true, maxFetch: 1_000_000 });
  });
}

const scenarios = {
  async read() {
    const { conn, user } = await bySoap();
    const described = await conn.describe("Opportunity");
    const found = await conn.sobject("Lead").find({ Company: { $like: "A%" }, IsConverted: true }, "Id, Company, Owner.Name").limit(3).execute();
    const rows = await (await conn.bulk2.query("SELECT Id, Company, NumberOfEmployees FROM Lead")).toArray();
    return {
      user,
      identity: (await conn.identity()).username,
      children: (await conn.describe("Account")).childRelationships.map((child) => child.childSObject).sort(),
      stages: described.fields.find((field) => field.name === "StageName").picklistValues.map((value) => value.value),
      streamed: await streamed(conn.query("SELECT Id FROM Lead")),
      found: found.map((record) => [record.Company[0], record.Owner.attributes.type]),
      bulkRows: rows.length,
      bulkFields: Object.keys(rows[0]),
      used: conn.limitInfo.apiUsage.used,
    };
  },

  async write() {
    const { conn } = await bySoap();
    const lead = conn.sobject("Lead");
    const upserted = await lead.upsert(
      [
        { External_Id__c: "LEAD-0000002", Leadline_Score__c: 0.5 },
        { External_Id__c: "js-new", LastName: "New", Company: "Made" },
        { External_Id__c: "js-bad", LastName: "No company" },
      ],
      "External_Id__c",
    );
    const both = [{ Id: upserted[0].id, Leadline_Score__c: 0.9 }, { Id: upserted[0].id, Leadline_Score__c: "high" }];
    const rolledBack = await lead.update(both, { allOrNone: true });
    const input = [{ LastName: "One", Company: "Bulk" }, { LastName: "Two" }];
    const loaded = await conn.bulk2.loadAndWaitForResults({ object: "Lead", operation: "insert", input });
    const records = await lead.retrieve([upserted[0].id, upserted[1].id]);
    const deleted = await lead.destroy([upserted[1].id, "00QgL00000zzzzzUAA"]);
    return {
      upserted,
      rolledBack,
      scores: records.map((record) => record.Leadline_Score__c),
      loaded: [loaded.successfulResults.length, loaded.failedResults.map((row) => row.sf__Error)],
      deleted,
    };
  },

  async sessions() {
    const conn = await byJwt();
    const before = await conn.query("SELECT COUNT() FROM Lead");
    await conn.oauth2.revokeToken(conn.accessToken);
    const { conn: refreshing } = await bySoap();
    const token = refreshing.accessToken;
    // The test injects the end of the session for this query; jsforce signs in again by itself.
    const refreshed = await refreshing.query("SELECT COUNT() FROM Account");
    return {
      instance: conn.instanceUrl,
      total: before.totalSize,
      revoked: await refusal(conn.query("SELECT COUNT() FROM Lead")),
      refreshed: [refreshed.totalSize, refreshing.accessToken !== token],
      late: await refusal(byJwt({ exp: Math.floor(Date.now() / 1000) - 60 })),
      foreignAudience: await refusal(byJwt({ aud: "https://example.org" })),
      textualExpiry: (await byJwt({ exp: String(Math.floor(Date.now() / 1000) + 180) })).accessToken.length > 100,
    };
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));

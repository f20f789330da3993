//! The page for people at `/__simulator/`.

use crate::app::App;
use crate::usage::Counted;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1f26}\
    table{border-collapse:collapse;width:100%;margin:.3rem 0 1.6rem}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde2e8;\
    vertical-align:top}th{font-weight:600;color:#4a5564}h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.4rem 0 .2rem}\
    code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}.no{color:#a1260d}.yes{color:#1a6b2f}p{color:#4a5564}";

pub(super) fn render(app: &App) -> String {
    let mut html = String::new();
    let org = &app.connected_app.org_id;
    html.push_str(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    );
    put(
        &mut html,
        format_args!("<title>Salesforce simulator</title><style>{STYLE}</style></head><body><h1>Salesforce simulator</h1>"),
    );
    let (used, limit) = (app.usage.used(Counted::Request), app.config.daily_api_requests);
    put(&mut html, format_args!("<p>Org <code>{org}</code> at <code>{}</code>, <code>{}</code>,", app.urls.http, app.urls.https));
    put(&mut html, format_args!(" proxy <code>{}</code>. {used} of {limit} API calls in 24 hours.</p>", app.urls.proxy));
    let objects = app
        .org
        .tables()
        .map(|table| vec![table.def.name.clone(), table.live_count().to_string(), table.def.fields.len().to_string()]);
    table(&mut html, "Objects", &["Object", "Records", "Fields"], objects.collect());
    table(&mut html, "Bulk jobs", &["Job", "Operation", "Object", "State", "Records", "Created", "Error"], jobs(app));
    table(&mut html, "Callbacks", &["Received", "Kind", "Verdict", "Content"], callbacks(app));
    let faults =
        app.faults.list().iter().map(|fault| vec![fault.id.clone(), serde_json::to_string(fault).unwrap_or_default()]).collect();
    table(&mut html, "Injected faults", &["Id", "Fault"], faults);
    let sessions = app
        .sessions
        .list()
        .into_iter()
        .map(|session| vec![session.flow, session.user_id, session.created.to_rfc3339(), session.last_used.to_rfc3339()]);
    table(&mut html, "Sessions", &["Flow", "User", "Issued", "Last used"], sessions.collect());
    html.push_str("</body></html>");
    html
}

fn jobs(app: &App) -> Vec<Vec<String>> {
    let newest_first = app.jobs.list().into_iter().rev().take(50);
    newest_first
        .map(|job| {
            let info = job.info();
            let state = format!("{:?}", info.state);
            let (operation, error) = (info.operation().to_owned(), info.error_message.clone().unwrap_or_default());
            vec![info.id, operation, info.object, state, info.processed.to_string(), info.created, error]
        })
        .collect()
}

fn callbacks(app: &App) -> Vec<Vec<String>> {
    let newest_first = app.callbacks.list().into_iter().rev().take(50);
    newest_first
        .map(|callback| {
            let verdict = if callback.accepted { "accepted" } else { "refused" };
            let content = callback.reason.or_else(|| callback.body.map(|body| body.to_string())).unwrap_or_default();
            vec![callback.received.to_rfc3339(), callback.kind, verdict.to_owned(), content]
        })
        .collect()
}

fn table(html: &mut String, title: &str, heads: &[&str], rows: Vec<Vec<String>>) {
    put(html, format_args!("<h2>{title}</h2>"));
    if rows.is_empty() {
        html.push_str("<p>None.</p>");
        return;
    }
    html.push_str("<table><thead><tr>");
    for head in heads {
        put(html, format_args!("<th>{head}</th>"));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            put(html, format_args!("<td>{}</td>", marked(&cell)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
}

fn marked(cell: &str) -> String {
    match cell {
        "accepted" | "JobComplete" => format!("<span class=\"yes\">{cell}</span>"),
        "refused" | "Failed" | "Aborted" => format!("<span class=\"no\">{cell}</span>"),
        long if long.starts_with('{') || long.len() == 18 => format!("<code>{}</code>", escaped(long)),
        plain => escaped(plain),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("writing to a string cannot fail");
}

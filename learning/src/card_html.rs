//! The model card as one self-contained page: no script, no other file, every text escaped.

use std::fmt::Write;

use crate::card::ModelCard;
use crate::features::Severity;
use crate::metrics::Estimate;

mod plots;

use plots::{Bar, Plot, bar_chart, histogram};

/// Fields drawn in the plot of importances.
const TOP_FIELDS: usize = 12;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #d5dce3}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e6ebef;vertical-align:top}\
th{font-weight:600;color:#51606f}.ok{color:#14713d}.no{color:#b3261e;font-weight:600}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:1rem}svg{width:100%;height:auto}small{color:#51606f}";

/// Writes the page.
pub fn card_html(card: &ModelCard) -> String {
    let title = escape(&card.definition.name);
    let sections = [
        verdict(card),
        metrics(card),
        plots(card),
        leaks(card),
        features(card),
        excluded(card),
        candidates(card),
        segments(card),
        provenance(card),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Model card: {title}</title><style>{STYLE}</style></head>\n<body>{}</body></html>\n",
        sections.concat()
    )
}

/// Escapes a text for element content and quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A table; cells are already escaped.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut html = String::from("<table><thead><tr>");
    head.iter().for_each(|h| html.push_str(&format!("<th>{h}</th>")));
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        row.iter().for_each(|cell| html.push_str(&format!("<td>{cell}</td>")));
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

fn section(title: &str, body: &str) -> String {
    format!("<section><h2>{title}</h2>{body}</section>\n")
}

fn interval(e: Estimate) -> String {
    format!("{:.4} <small>{:.4} to {:.4}</small>", e.value, e.lower, e.upper)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn verdict(card: &ModelCard) -> String {
    let passed = card.gates.passed();
    let (class, words) = if passed { ("ok", "every gate passed") } else { ("no", "refused by its gates") };
    let rows = card.gates.gates.iter().map(|gate| {
        let mark = if gate.passed { "<span class=ok>passed</span>" } else { "<span class=no>refused</span>" };
        let name = serde_json::to_value(gate.code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        vec![escape(&name.replace('_', " ")), mark.to_owned(), escape(&gate.detail)]
    });
    let warning = card.temporal.as_ref().and_then(|t| t.warning.as_deref());
    let warning = warning.map(|w| format!("<p class=no>{}</p>", escape(w))).unwrap_or_default();
    format!(
        "<header><h1>Model card: {}</h1><p>{} predicts {} on {} · <span class={class}>{words}</span></p></header>{warning}{}",
        escape(&card.definition.name),
        escape(&card.definition.name),
        escape(&card.definition.label_field),
        escape(&card.definition.object),
        section("Gates", &table(&["gate", "", "why"], rows))
    )
}

fn metrics(card: &ModelCard) -> String {
    let e = &card.evaluation;
    let c = &e.confusion;
    let rows = [
        ("AUC", interval(e.auc)),
        ("PR-AUC (average precision)", interval(e.pr_auc)),
        ("Log loss", format!("{} · base rate alone {:.4}", interval(e.log_loss), e.base_log_loss)),
        ("Brier score", interval(e.brier)),
        ("Expected calibration error, 10 bins", interval(e.calibration_error)),
        ("Lift in the best 10 %", interval(e.lift_10)),
        ("Lift in the best 20 %", interval(e.lift_20)),
        (
            "At the threshold",
            format!(
                "{:.3}: precision {:.3}, recall {:.3}, F1 {:.3} \
                 <small>{} true and {} false positives, {} true and {} false negatives</small>",
                c.threshold,
                e.precision,
                e.recall,
                e.f1,
                c.true_positives,
                c.false_positives,
                c.true_negatives,
                c.false_negatives
            ),
        ),
    ];
    let intro = format!(
        "<p>{} records held out, {} of them positive; intervals are 95 %. \
         The threshold is the one with the best F1 on validation data.</p>",
        e.rows, e.positives
    );
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    section("On records it has not seen", &(intro + &table(&["metric", "value"], rows)))
}

fn plots(card: &ModelCard) -> String {
    let curves = &card.evaluation.curves;
    let points = |points: &[crate::metrics::Point]| points.iter().map(|p| (p.x, p.y)).collect::<Vec<_>>();
    let gains = std::iter::once((0.0, 0.0)).chain(curves.gains.iter().map(|g| (g.depth, g.captured))).collect();
    let top = curves.calibration.iter().map(|b| b.predicted.max(b.observed)).fold(0.0, f64::max);
    let calibration = curves.calibration.iter().map(|b| (b.predicted, b.observed)).collect();
    let roc = Plot { title: "ROC", x: "false positive rate", y: "true positive rate", points: points(&curves.roc), ..Plot::UNIT };
    let pr = Plot {
        title: "Precision and recall",
        x: "recall",
        y: "precision",
        points: points(&curves.precision_recall),
        diagonal: false,
        ..Plot::UNIT
    };
    let gains = Plot { title: "Gains", x: "share of records, best first", y: "share of positives", points: gains, ..Plot::UNIT };
    let calibration = Plot {
        title: "Calibration",
        x: "predicted",
        y: "observed",
        points: calibration,
        dots: true,
        limit: nice(top),
        ..Plot::UNIT
    };
    let bars =
        card.features.iter().take(TOP_FIELDS).map(|f| Bar { name: f.label.clone(), value: f.importance }).collect::<Vec<_>>();
    let drawn = [
        roc.svg(),
        pr.svg(),
        calibration.svg(),
        gains.svg(),
        bar_chart("Strongest fields (mean effect, log-odds)", &bars),
        histogram("Scores", &card.evaluation.score_histogram),
    ];
    section("Plots", &format!("<div class=plots>{}</div>", drawn.concat()))
}

/// The next round number for an axis that ends at a share.
fn nice(top: f64) -> f64 {
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8].into_iter().find(|limit| top <= *limit).unwrap_or(1.0)
}

fn leaks(card: &ModelCard) -> String {
    if card.leaks.is_empty() {
        return section("Leak checks", "<p>No field gives the answer away or is suspiciously strong alone.</p>");
    }
    let rows = card.leaks.iter().map(|leak| {
        let severity = match leak.severity {
            Severity::Leak => "<span class=no>leak</span>",
            Severity::Suspicious => "suspicious",
        };
        vec![name(&leak.field, &leak.label), severity.to_owned(), escape(&leak.finding), leak.decision.words().to_owned()]
    });
    section("Leak checks", &table(&["field", "", "finding", "decision"], rows))
}

fn name(field: &str, label: &str) -> String {
    if field == label { escape(field) } else { format!("{} <small>{}</small>", escape(label), escape(field)) }
}

fn features(card: &ModelCard) -> String {
    let rows = card.features.iter().map(|f| {
        vec![
            name(&f.field, &f.label),
            escape(&f.encoding),
            percent(f.null_share),
            format!("{:.3}", f.single_field_auc),
            format!("{:.4}", f.importance),
        ]
    });
    section("Fields it reads", &table(&["field", "read as", "empty", "AUC alone", "mean effect"], rows))
}

fn excluded(card: &ModelCard) -> String {
    let rows = card.excluded.iter().map(|e| vec![name(&e.field, &e.label), escape(&e.reason)]);
    section("Fields it does not read", &table(&["field", "why"], rows))
}

fn candidates(card: &ModelCard) -> String {
    let rows = card.candidates.iter().map(|c| {
        let chosen = if c.chosen { "<span class=ok>chosen</span>" } else { "" };
        let loss = format!("{:.5}", c.log_loss);
        vec![escape(&c.name), escape(&c.parameters), c.folds.to_string(), loss, format!("{:.4}", c.auc), chosen.to_owned()]
    });
    let head = ["candidate", "parameters", "folds", "log loss", "AUC", ""];
    section("What was tried (cross-validated in the training part)", &table(&head, rows))
}

fn segments(card: &ModelCard) -> String {
    if card.evaluation.segments.is_empty() {
        return String::new();
    }
    let rows = card.evaluation.segments.iter().map(|s| {
        let rate = percent(s.positives as f64 / s.rows as f64);
        let value = format!("{}: {}", escape(&s.field), escape(&s.value));
        vec![value, s.rows.to_string(), rate, percent(s.mean_probability), interval(s.auc)]
    });
    section("By segment", &table(&["segment", "records", "positive", "predicted", "AUC"], rows))
}

fn provenance(card: &ModelCard) -> String {
    let counts = &card.counts;
    let model = &card.model;
    let mut body = String::new();
    let _ = write!(
        body,
        "<p>{} records, {} without a known outcome; {} to learn from ({} positive, {}), {} held out ({} positive).</p>\
         <p>{} trees with weight {:.2}, linear part with weight {:.2}; {} calibration; searched on {} rows.</p>",
        counts.rows,
        counts.outcome_unknown,
        counts.training,
        counts.training_positives,
        percent(card.base_rate),
        counts.holdout,
        counts.holdout_positives,
        model.trees,
        model.tree_weight,
        1.0 - model.tree_weight,
        escape(&model.calibration),
        model.searched_rows
    );
    if let Some(t) = &card.temporal {
        let _ = write!(
            body,
            "<p>Learnt from the earlier {} records by {} and tested on the latest {}: AUC {}; \
             cross-validated over all times {:.4}.</p>",
            t.earlier_rows,
            escape(&t.field),
            t.later_rows,
            interval(t.auc),
            t.cross_validated_auc
        );
    }
    let _ = write!(
        body,
        "<p><small>artifact {}<br>schema {}<br>seed {}, held-out part {}, budget {} tree rows</small></p>",
        escape(&card.artifact_digest),
        escape(&card.schema_hash),
        card.options.seed,
        card.options.holdout_part,
        card.options.budget.tree_rows
    );
    section("Where it comes from", &body)
}

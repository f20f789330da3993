//! `leadline explain`: what an error code means and what to do about it, from the same reference as docs/errors.md.

use clap::Args;
use leadline_api::error_section;
use leadline_domain::Code;
use serde_json::json;

use super::Context;
use crate::{
    error::{CliError, Result},
    output,
};

/// Say what an error code means and what to do about it
#[derive(Debug, Args)]
pub struct Explain {
    /// Such as CONSENT_MISSING; every code when absent
    code: Option<String>,
}

impl Explain {
    pub fn run(self, context: &Context) -> Result<()> {
        let Some(wanted) = self.code.map(|code| code.to_uppercase()) else {
            list(context);
            return Ok(());
        };
        let known = wanted.parse::<Code>().ok().and_then(|code| Some((code, error_section(code)?)));
        let (code, text) = known.ok_or_else(|| {
            CliError::environment(format!("{wanted} is no code of leadline"), "`leadline explain` lists those there are")
        })?;
        if context.output.json {
            output::json(&json!({"code": code.as_str(), "status": code.http_status(), "explanation": text}));
        } else {
            println!("{code}\n\n{text}");
        }
        Ok(())
    }
}

fn list(context: &Context) {
    if context.output.json {
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        return output::json(&json!({ "codes": codes }));
    }
    Code::ALL.iter().for_each(|code| println!("{code}"));
}

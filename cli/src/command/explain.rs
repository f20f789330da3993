//! `leadline explain`: what an error code means and what to do about it, from the same reference as docs/errors.md.

use clap::Args;
use leadline_domain::Code;

use crate::error::{CliError, Result};

const REFERENCE: &str = include_str!("../../../docs/errors.md");

/// Say what an error code means and what to do about it
#[derive(Debug, Args)]
pub struct Explain {
    /// Such as CONSENT_MISSING; every code when absent
    code: Option<String>,
}

impl Explain {
    pub fn run(self) -> Result<()> {
        match self.code {
            None => {
                for code in Code::ALL {
                    println!("{code}");
                }
                Ok(())
            }
            Some(code) => {
                let wanted = code.to_uppercase();
                let text = section(&wanted).ok_or_else(|| {
                    CliError::environment(format!("{wanted} is no code of leadline"), "`leadline explain` lists those there are")
                })?;
                println!("{wanted}\n\n{text}");
                Ok(())
            }
        }
    }
}

/// The section of a code in the error reference.
fn section(code: &str) -> Option<&'static str> {
    let heading = format!("## {code}\n");
    let start = REFERENCE.find(&heading)? + heading.len();
    let rest = &REFERENCE[start..];
    Some(rest[..rest.find("\n## ").unwrap_or(rest.len())].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        for code in Code::ALL {
            let text = section(code.as_str()).unwrap_or_default();
            assert!(text.len() > 40 && !text.contains("## "), "{code}: {text:?}");
        }
        assert_eq!(section("NOSUCHCODE"), None);
    }
}

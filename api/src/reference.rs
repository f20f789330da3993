//! The error reference, a section for each code: what a problem's `type` leads to, and what `leadline explain` prints.

use leadline_domain::Code;

const ERRORS: &str = include_str!("../../docs/errors.md");

/// What the reference says of a code, below its heading.
pub fn error_section(code: Code) -> Option<&'static str> {
    section(ERRORS, code)
}

/// What the reference asks of whoever meets the code, on one line.
pub fn suggestions(code: Code) -> Option<String> {
    let (_, suggestions) = error_section(code)?.split_once("Suggestions:")?;
    Some(suggestions.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn section(reference: &'static str, code: Code) -> Option<&'static str> {
    let heading = format!("\n## {code}\n");
    let start = reference.find(&heading)? + heading.len();
    let rest = &reference[start..];
    Some(rest[..rest.find("\n## ").unwrap_or(rest.len())].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_and_it_ends_before_the_next() {
        for code in Code::ALL {
            let text = error_section(*code).unwrap_or_default();
            assert!(text.len() > 40 && !text.contains("## "), "{code}: {text:?}");
        }
        const TWO: &str = "# Errors\n\n## NOT_FOUND\nfirst\n\n## FORBIDDEN\nsecond\n";
        assert_eq!(section(TWO, Code::NotFound), Some("first"));
        assert_eq!(section(TWO, Code::Forbidden), Some("second"));
        assert_eq!(section(TWO, Code::Internal), None);
    }
}
